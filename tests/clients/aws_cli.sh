#!/usr/bin/env bash
# The AWS CLI: objects under every key, multipart, sync, a presigned URL; and a queue. Arguments: the CLI, a Python.
set -euo pipefail
cli=$1 python=$2
# The first answer counts, not the one after retries.
export AWS_MAX_ATTEMPTS=1 AWS_PAGER=
aws() { "$cli" "$@"; }
# Version 1 of the CLI takes the endpoint of SQS from its command line only.
sqs() { aws --endpoint-url "$AWS_ENDPOINT_URL_SQS" sqs "$@"; }
bucket=cli-round-trip

# The rest must end in this error.
refused() {
    local code=$1
    shift
    if "$@" >refused.out 2>refused.err; then
        echo "not refused: $*"
        exit 1
    fi
    grep -qF "$code" refused.err || { cat refused.err; exit 1; }
}

same() {
    [ "$1" = "$2" ] || { printf 'got:\n%s\nwanted:\n%s\n' "$1" "$2"; exit 1; }
}

aws s3 mb "s3://$bucket"
mapfile -t keys <<<"$KEYS"

for key in "${keys[@]}"; do
    printf 'the object of %s' "$key" >body
    aws s3api put-object --bucket "$bucket" --key "$key" --body body --content-type text/x-test --metadata a=b >/dev/null
    same "$(aws s3api get-object --bucket "$bucket" --key "$key" got \
        --query '[ContentType, Metadata.a]' --output text)" $'text/x-test\tb'
    cmp body got
done
key=${keys[2]}
size=$(printf 'the object of %s' "$key" | wc -c)
same "$(aws s3api head-object --bucket "$bucket" --key "$key" --query ContentLength)" "$size"
aws s3api get-object --bucket "$bucket" --key "$key" --range bytes=4-9 got >/dev/null
same "$(cat got)" object
refused PreconditionFailed aws s3api put-object --bucket "$bucket" --key "$key" --body body --if-none-match '*'
refused "(404)" aws s3api head-object --bucket "$bucket" --key "never there"

# S3 sorts by bytes.
sorted=$(LC_ALL=C sort <<<"$KEYS")
same "$(aws s3api list-objects-v2 --bucket "$bucket" --page-size 2 --query 'Contents[].[Key]' --output text)" "$sorted"
same "$(aws s3api list-objects-v2 --bucket "$bucket" --delimiter / --query 'CommonPrefixes[].[Prefix]' --output text)" \
    "$(grep / <<<"$sorted" | sed 's|/.*|/|' | uniq)"

# 20 MB is above the CLI's threshold of 8 MiB for parts of that size.
head -c 20000000 /dev/urandom >large
aws s3 cp --quiet large "s3://$bucket/$key"
same "$(aws s3api head-object --bucket "$bucket" --key "$key" --query 'ETag' --output text | tail -c 4)" '-3"'
aws s3 cp --quiet "s3://$bucket/$key" "s3://$bucket/${keys[3]}"
aws s3 cp --quiet "s3://$bucket/${keys[3]}" got
cmp large got
# Without this the CLI would presign with version 2.
aws configure set default.s3.signature_version s3v4
url=$(aws s3 presign "s3://$bucket/${keys[3]}")
"$python" -c 'import sys, urllib.request as r; sys.stdout.buffer.write(r.urlopen(sys.argv[1]).read())' "$url" >got
cmp large got

mkdir -p tree/a
for file in tree/one "tree/a/b c+d%" "tree/a/한글.txt"; do echo "$file" >"$file"; done
aws s3 sync --quiet tree "s3://$bucket/tree"
aws s3 sync --quiet "s3://$bucket/tree" back
diff -r tree back
aws s3 mv --quiet "s3://$bucket/tree/one" "s3://$bucket/tree/two"
same "$(aws s3 ls --recursive "s3://$bucket/tree/" | sed -E 's/^[^ ]+ [^ ]+ +[0-9]+ //')" \
    $'tree/a/b c+d%\ntree/a/한글.txt\ntree/two'

refused BucketNotEmpty aws s3 rb "s3://$bucket"
aws s3api delete-object --bucket "$bucket" --key "${keys[1]}"
doomed=$("$python" -c 'import json, sys; print(json.dumps({"Objects": [{"Key": key} for key in sys.argv[1:]]}))' "${keys[@]}")
same "$(aws s3api delete-objects --bucket "$bucket" --delete "$doomed" --query 'length(Deleted)')" "${#keys[@]}"
aws s3 rm --quiet --recursive "s3://$bucket/tree"
same "$(aws s3 ls --recursive "s3://$bucket" || true)" ""
aws s3 rb "s3://$bucket"

dead=$(sqs create-queue --queue-name cli-dead --query QueueUrl --output text)
arn=$(sqs get-queue-attributes --queue-url "$dead" --attribute-names QueueArn --query Attributes.QueueArn --output text)
queue=$(sqs create-queue --queue-name cli --query QueueUrl --output text --attributes \
    "{\"RedrivePolicy\": \"{\\\"deadLetterTargetArn\\\": \\\"$arn\\\", \\\"maxReceiveCount\\\": 1}\"}")
same "$(sqs list-queues --queue-name-prefix cli --query 'length(QueueUrls)')" 2
sqs send-message --queue-url "$queue" --message-body "한글 & <one>" >/dev/null
same "$(sqs send-message-batch --queue-url "$queue" --query '[length(Successful), length(Failed)]' --output text \
    --entries '[{"Id": "good", "MessageBody": "good"}, {"Id": "bad", "MessageBody": "\u0001"}]')" $'1\t1'
receive() { sqs receive-message --queue-url "$1" --max-number-of-messages 10 --wait-time-seconds "$2" --output text "${@:3}"; }
received=$(receive "$queue" 5 --query 'sort_by(Messages, &Body)[].[Body, ReceiptHandle]')
same "$(cut -f 1 <<<"$received")" $'good\n한글 & <one>'
handle() { sed -n "$1p" <<<"$received" | cut -f 2; }
sqs delete-message --queue-url "$queue" --receipt-handle "$(handle 2)"
# Received once already, it goes to the dead letters instead of coming back.
sqs change-message-visibility --queue-url "$queue" --receipt-handle "$(handle 1)" --visibility-timeout 0
same "$(receive "$queue" 1)" ""
same "$(receive "$dead" 5 --visibility-timeout 0 --query 'Messages[].[Body]')" good
sqs start-message-move-task --source-arn "$arn" >/dev/null
same "$(receive "$queue" 5 --query 'Messages[].[Body]')" good
sqs purge-queue --queue-url "$queue"
for url in "$queue" "$dead"; do sqs delete-queue --queue-url "$url"; done
refused NonExistentQueue sqs get-queue-url --queue-name cli
echo done
