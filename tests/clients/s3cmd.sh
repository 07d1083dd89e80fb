#!/usr/bin/env bash
# s3cmd: objects under the keys that it can name, multipart, copies, sync. Argument: s3cmd.
# Its presigned URLs are left out: it signs them with version 2, which the local cloud refuses as S3 does for new buckets.
set -euo pipefail
program=$1
host=${AWS_ENDPOINT_URL_S3#http://}
cat >s3cfg <<CONFIG
[default]
access_key = $AWS_ACCESS_KEY_ID
secret_key = $AWS_SECRET_ACCESS_KEY
host_base = $host
host_bucket = $host
use_https = False
bucket_location = $AWS_REGION
encoding = UTF-8
CONFIG
# The first answer counts, not the one after retries.
s3cmd() { "$program" -c s3cfg --max-retries=1 --no-progress "$@"; }
bucket=s3://s3cmd-round-trip

same() {
    [ "$1" = "$2" ] || { printf 'got:\n%s\nwanted:\n%s\n' "$1" "$2"; exit 1; }
}
listed() { s3cmd ls --recursive "$1" | sed -E 's|^[^ ]+ [^ ]+ +[0-9]+  s3://[^/]+/||'; }

s3cmd mb "$bucket"
# To s3cmd, `//y/` is a folder; an object in that folder it can name.
mapfile -t keys < <(sed 's|^//y/$|//y/z|' <<<"$KEYS")
for key in "${keys[@]}"; do
    printf 'the object of %s' "$key" >body
    s3cmd put --mime-type text/x-test --add-header x-amz-meta-a:b body "$bucket/$key"
    s3cmd get --force "$bucket/$key" got
    cmp body got
    s3cmd info "$bucket/$key" >info
    grep -q 'MIME type: text/x-test' info
    grep -q 'x-amz-meta-a: b' info
    grep -q "MD5 sum:   $(md5sum <body | cut -d ' ' -f 1)" info
    s3cmd cp "$bucket/$key" "$bucket/copy"
    s3cmd get --force "$bucket/copy" got
    cmp body got
done
s3cmd del "$bucket/copy"
# S3 sorts by bytes.
same "$(listed "$bucket")" "$(printf '%s\n' "${keys[@]}" | LC_ALL=C sort)"
same "$(s3cmd ls "$bucket/a" | sed 's/.* s3:/s3:/')" "$(printf '%s\n' "$bucket/a b+c%/" "$bucket/a/" "$bucket/a")"
# A ranged read of the rest.
head -c 4 body >got
s3cmd get --continue "$bucket/${keys[6]}" got
cmp body got
s3cmd modify --mime-type text/x-other "$bucket/${keys[2]}"
s3cmd info "$bucket/${keys[2]}" >info
grep -q 'MIME type: text/x-other' info

head -c 16000001 /dev/urandom >large
s3cmd put --multipart-chunk-size-mb=5 large "$bucket/large/one"
s3cmd mv "$bucket/large/one" "$bucket/large/two"
s3cmd get "$bucket/large/two" large.back
cmp large large.back
same "$(listed "$bucket/large/")" large/two

mkdir -p tree/a
for number in $(seq 25); do echo "$number" >"tree/a/$number b+c%"; done
echo 한글 >tree/한글.txt
s3cmd sync tree/ "$bucket/tree/"
rm "tree/a/1 b+c%"
s3cmd sync --delete-removed tree/ "$bucket/tree/"
mkdir back
s3cmd sync "$bucket/tree/" back/
diff -r tree back

if s3cmd rb "$bucket" 2>refused.err; then exit 1; fi
grep -q BucketNotEmpty refused.err
s3cmd del --recursive --force "$bucket"
same "$(listed "$bucket")" ""
s3cmd rb "$bucket"
if s3cmd info "$bucket" 2>refused.err; then exit 1; fi
grep -q NoSuchBucket refused.err
echo done
