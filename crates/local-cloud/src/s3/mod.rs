//! The S3 side: `s3s` parses, authenticates and serialises; these modules say what each operation means here.

mod absent;
mod body;
mod bucket;
mod chunks;
mod copy;
mod cors;
mod error;
mod get;
mod guard;
mod handler;
mod list;
mod multipart;
mod put;
mod ranges;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};

pub use self::absent::AbsentKeys;
pub(crate) use self::handler::S3Handler;
use crate::store::Store;

/// The id of a request, as `x-amz-request-id` gives it and events repeat it.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

/// The operations, over the store.
pub(crate) struct Service {
    pub(crate) store: Arc<Store>,
}

fn request_id<T>(request: &S3Request<T>) -> String {
    request.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default()
}

/// A time as S3 shows it: whole seconds.
fn shown_time(ms: i64) -> Timestamp {
    let seconds = u64::try_from(ms / 1000).unwrap_or(0);
    Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

macro_rules! operations {
    ($($name:ident: $input:ty => $output:ty, $implementation:path;)*) => {
        #[async_trait::async_trait]
        impl S3 for Service {
            $(async fn $name(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                $implementation(&self.store, request).await
            })*
        }
    };
}

operations! {
    create_bucket: CreateBucketInput => CreateBucketOutput, bucket::create;
    head_bucket: HeadBucketInput => HeadBucketOutput, bucket::head;
    list_buckets: ListBucketsInput => ListBucketsOutput, bucket::list;
    delete_bucket: DeleteBucketInput => DeleteBucketOutput, bucket::delete;
    get_bucket_location: GetBucketLocationInput => GetBucketLocationOutput, bucket::location;
    get_bucket_versioning: GetBucketVersioningInput => GetBucketVersioningOutput, bucket::versioning;
    put_bucket_cors: PutBucketCorsInput => PutBucketCorsOutput, bucket::put_cors;
    get_bucket_cors: GetBucketCorsInput => GetBucketCorsOutput, bucket::get_cors;
    delete_bucket_cors: DeleteBucketCorsInput => DeleteBucketCorsOutput, bucket::delete_cors;
    put_bucket_notification_configuration: PutBucketNotificationConfigurationInput
        => PutBucketNotificationConfigurationOutput, bucket::put_notifications;
    get_bucket_notification_configuration: GetBucketNotificationConfigurationInput
        => GetBucketNotificationConfigurationOutput, bucket::get_notifications;
    post_object: PostObjectInput => PostObjectOutput, put::post_form;
    put_object: PutObjectInput => PutObjectOutput, put::put;
    get_object: GetObjectInput => GetObjectOutput, get::get;
    head_object: HeadObjectInput => HeadObjectOutput, get::head;
    delete_object: DeleteObjectInput => DeleteObjectOutput, put::delete;
    delete_objects: DeleteObjectsInput => DeleteObjectsOutput, put::delete_many;
    copy_object: CopyObjectInput => CopyObjectOutput, copy::copy;
    list_objects: ListObjectsInput => ListObjectsOutput, list::v1;
    list_objects_v2: ListObjectsV2Input => ListObjectsV2Output, list::v2;
    list_object_versions: ListObjectVersionsInput => ListObjectVersionsOutput, list::versions;
    create_multipart_upload: CreateMultipartUploadInput => CreateMultipartUploadOutput, multipart::create;
    upload_part: UploadPartInput => UploadPartOutput, multipart::upload_part;
    upload_part_copy: UploadPartCopyInput => UploadPartCopyOutput, copy::part;
    complete_multipart_upload: CompleteMultipartUploadInput => CompleteMultipartUploadOutput, multipart::complete;
    abort_multipart_upload: AbortMultipartUploadInput => AbortMultipartUploadOutput, multipart::abort;
    list_parts: ListPartsInput => ListPartsOutput, multipart::list_parts;
    list_multipart_uploads: ListMultipartUploadsInput => ListMultipartUploadsOutput, multipart::list_uploads;
}
