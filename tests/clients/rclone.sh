#!/usr/bin/env bash
# rclone: objects under the keys that it can name, a tree, multipart, server-side copies, a presigned link. Argument: rclone.
set -euo pipefail
program=$1
# The first answer counts, not the one after retries.
rclone() { "$program" --retries 1 --low-level-retries 1 "$@"; }
export RCLONE_CONFIG=/dev/null
export RCLONE_CONFIG_CLOUD_TYPE=s3
# As AWS, rclone sends its checksums in trailers, which its SDK does over TLS only.
export RCLONE_CONFIG_CLOUD_PROVIDER=Other
export RCLONE_CONFIG_CLOUD_ENV_AUTH=true
export RCLONE_CONFIG_CLOUD_REGION=$AWS_REGION
export RCLONE_CONFIG_CLOUD_ENDPOINT=$AWS_ENDPOINT_URL_S3
export RCLONE_CONFIG_CLOUD_FORCE_PATH_STYLE=true
bucket=cloud:rclone-round-trip

same() {
    [ "$1" = "$2" ] || { printf 'got:\n%s\nwanted:\n%s\n' "$1" "$2"; exit 1; }
}
sorted() { LC_ALL=C sort; }

rclone mkdir "$bucket"
# rclone stores `../x` as `．．/x` and then does not find it, and takes `//y/` for a folder; an object in that folder it can name.
mapfile -t keys < <(sed -e '/^\.\.\//d' -e 's|^//y/$|//y/z|' <<<"$KEYS")
for key in "${keys[@]}"; do
    printf 'the object of %s' "$key" >body
    rclone copyto --metadata --metadata-set content-type=text/x-test body "$bucket/$key"
    rclone cat "$bucket/$key" | cmp - body
    same "$(rclone cat --offset 4 --count 6 "$bucket/$key")" object
    same "$(rclone lsf --format M --metadata "$bucket/$key" | grep -o '"content-type":"[^"]*"')" '"content-type":"text/x-test"'
done
same "$(rclone lsf --files-only --recursive "$bucket" | sorted)" "$(printf '%s\n' "${keys[@]}" | sorted)"
same "$(rclone lsf "$bucket/a")" a
same "$(rclone lsf "$bucket/a/")" b
if rclone rmdir "$bucket" 2>refused.err; then exit 1; fi
grep -q BucketNotEmpty refused.err

# In parts: of a file, of a stream whose length nobody knows, and from one object to another.
head -c 16000001 /dev/urandom >large
parts=(--s3-upload-cutoff 5Mi --s3-chunk-size 5Mi --s3-copy-cutoff 5Mi)
rclone "${parts[@]}" copyto large "$bucket/${keys[2]}"
rclone "${parts[@]}" rcat "$bucket/large/stream" <large
rclone "${parts[@]}" copyto "$bucket/${keys[2]}" "$bucket/large/copy"
rclone "${parts[@]}" moveto "$bucket/large/copy" "$bucket/large/moved"
for key in "${keys[2]}" large/stream large/moved; do rclone cat "$bucket/$key" | cmp - large; done
same "$(rclone md5sum "$bucket/large/moved" | cut -d ' ' -f 1)" "$(md5sum <large | cut -d ' ' -f 1)"
same "$(rclone lsf "$bucket/large")" $'moved\nstream'
rclone copyurl "$(rclone link --expire 5m "$bucket/large/moved")" linked
cmp linked large

mkdir -p tree/a
for number in $(seq 25); do echo "$number" >"tree/a/$number b+c%"; done
echo 한글 >tree/한글.txt
rclone sync tree "$bucket/tree"
rclone check --download tree "$bucket/tree" 2>checked.err
grep -q '26 matching files' checked.err
# In pages.
same "$(rclone --s3-list-chunk 10 lsf --files-only -R "$bucket/tree" | wc -l)" 26
rm "tree/a/1 b+c%"
rclone sync tree "$bucket/tree"
rclone sync "$bucket/tree" back
diff -r tree back

rclone deletefile "$bucket/${keys[0]}"
same "$(rclone lsf "$bucket/a")" b
rclone purge "$bucket"
same "$(rclone lsf cloud: | grep rclone-round-trip || true)" ""
echo done
