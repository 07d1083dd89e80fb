"""The differences that are not ours to mend."""

from allowed_s3 import S3
from allowed_sqs import SQS

ALLOWED = S3 + SQS
