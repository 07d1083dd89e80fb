//! What is read of a bucket's settings, from answers as Amazon's S3 writes them; the local cloud has not all of them.

use cloud_aws::inspect::{BucketSettings, CorsRule, LifecycleRule, Notifications, QueueNotification, Setting};
use cloud_aws::{Aws, Endpoint, StaticCredentials};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const SET: &[(&str, u16, &str)] = &[
    (
        "notification",
        200,
        "<NotificationConfiguration><QueueConfiguration><Id>a</Id><Queue>arn:aws:sqs:us-east-1:1:jobs</Queue>\
         <Event>s3:ObjectCreated:*</Event><Filter><S3Key><FilterRule><Name>Prefix</Name><Value>drop/</Value></FilterRule>\
         <FilterRule><Name>Suffix</Name><Value>.csv</Value></FilterRule></S3Key></Filter></QueueConfiguration>\
         <EventBridgeConfiguration/></NotificationConfiguration>",
    ),
    (
        "cors",
        200,
        "<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>PUT</AllowedMethod>\
         <AllowedHeader>content-type</AllowedHeader><ExposeHeader>ETag</ExposeHeader></CORSRule></CORSConfiguration>",
    ),
    (
        "lifecycle",
        200,
        "<LifecycleConfiguration>\
         <Rule><Prefix>jobs/</Prefix><Status>Enabled</Status><Expiration><Days>30</Days></Expiration></Rule>\
         <Rule><Filter><Prefix>results/</Prefix></Filter><Status>Enabled</Status><Expiration><Days>20</Days></Expiration></Rule>\
         <Rule><Filter><And><Prefix>big/</Prefix><ObjectSizeGreaterThan>9</ObjectSizeGreaterThan></And></Filter>\
         <Status>Enabled</Status><Expiration><Date>2030-01-01T00:00:00Z</Date></Expiration></Rule>\
         <Rule><Filter><Tag><Key>a</Key><Value>b</Value></Tag></Filter><Status>Enabled</Status>\
         <Expiration><Days>1</Days></Expiration></Rule>\
         <Rule><Prefix>off/</Prefix><Status>Disabled</Status><Expiration><Days>1</Days></Expiration></Rule>\
         <Rule><Prefix/><Status>Enabled</Status>\
         <AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>\
         </LifecycleConfiguration>",
    ),
    (
        "publicAccessBlock",
        200,
        "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls><IgnorePublicAcls>true</IgnorePublicAcls>\
         <BlockPublicPolicy>true</BlockPublicPolicy><RestrictPublicBuckets>true</RestrictPublicBuckets>\
         </PublicAccessBlockConfiguration>",
    ),
    (
        "encryption",
        200,
        "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm>\
         <KMSMasterKeyID>arn:aws:kms:us-east-1:1:key/k</KMSMasterKeyID></ApplyServerSideEncryptionByDefault></Rule>\
         </ServerSideEncryptionConfiguration>",
    ),
];

/// A bucket with these answers, each found by the request's query; any other one is an error.
async fn settings(answers: &'static [(&'static str, u16, &'static str)]) -> BucketSettings {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                assert!(connection.read_buf(&mut request).await.unwrap() > 0);
            }
            let request = String::from_utf8(request).unwrap();
            let line = request.lines().next().unwrap();
            let found = answers
                .iter()
                .find(|(query, ..)| line.contains(&format!("?{query} ")) || line.contains(&format!("?{query}=")));
            let (_, status, body) = found.unwrap_or_else(|| panic!("{line}"));
            let length = body.len();
            let answer = format!("HTTP/1.1 {status} .\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
            connection.write_all(answer.as_bytes()).await.unwrap();
            connection.shutdown().await.unwrap();
        }
    });
    let aws = Aws::connect(&Endpoint {
        region: Some("us-east-1".to_owned()),
        s3_url: Some(url),
        sqs_url: None,
        credentials: Some(StaticCredentials { access_key: "AKID".to_owned(), secret_key: "secret".to_owned() }),
        force_path_style: true,
    })
    .await;
    let settings = aws.bucket_settings("b").await.unwrap();
    serving.abort();
    settings
}

#[tokio::test]
async fn what_is_set_is_read() {
    let settings = settings(SET).await;
    let queue = QueueNotification {
        queue_arn: "arn:aws:sqs:us-east-1:1:jobs".to_owned(),
        events: vec!["s3:ObjectCreated:*".to_owned()],
        prefix: "drop/".to_owned(),
        suffix: ".csv".to_owned(),
    };
    assert_eq!(settings.notifications, Setting::Is(Notifications { queues: vec![queue], elsewhere: true }));
    let rule = CorsRule {
        origins: vec!["*".to_owned()],
        methods: vec!["PUT".to_owned()],
        headers: vec!["content-type".to_owned()],
        exposed: vec!["ETag".to_owned()],
    };
    assert_eq!(settings.cors, Setting::Is(vec![rule]));
    let rule = |prefix: &str, days| LifecycleRule { prefix: prefix.to_owned(), days };
    assert_eq!(settings.lifecycle, Setting::Is(vec![rule("jobs/", 30), rule("results/", 20), rule("big/", 0)]));
    assert_eq!(settings.public_access_blocked, Setting::Is(true));
    assert_eq!(settings.kms_key, Setting::Is(Some("arn:aws:kms:us-east-1:1:key/k".to_owned())));
}

/// S3 answers what is not set with errors, each of its own code.
#[tokio::test]
async fn what_is_not_set_is_told_from_what_cannot_be_read() {
    let unset = settings(&[
        ("notification", 200, "<NotificationConfiguration/>"),
        ("cors", 404, "<Error><Code>NoSuchCORSConfiguration</Code></Error>"),
        ("lifecycle", 404, "<Error><Code>NoSuchLifecycleConfiguration</Code></Error>"),
        ("publicAccessBlock", 404, "<Error><Code>NoSuchPublicAccessBlockConfiguration</Code></Error>"),
        ("encryption", 404, "<Error><Code>ServerSideEncryptionConfigurationNotFoundError</Code></Error>"),
    ])
    .await;
    assert_eq!(unset.notifications, Setting::Is(Notifications::default()));
    assert_eq!((unset.cors, unset.lifecycle), (Setting::Is(Vec::new()), Setting::Is(Vec::new())));
    assert_eq!((unset.public_access_blocked, unset.kms_key), (Setting::Is(false), Setting::Is(None)));

    let unread = settings(&[
        ("notification", 403, "<Error><Code>AccessDenied</Code></Error>"),
        ("cors", 501, "<Error><Code>NotImplemented</Code></Error>"),
        ("lifecycle", 403, "<Error><Code>AccessDenied</Code></Error>"),
        ("publicAccessBlock", 501, "<Error><Code>NotImplemented</Code></Error>"),
        ("encryption", 200, "<ServerSideEncryptionConfiguration/>"),
    ])
    .await;
    assert_eq!((unread.notifications, unread.cors), (Setting::Denied, Setting::Unsupported));
    assert_eq!((unread.lifecycle, unread.public_access_blocked), (Setting::Denied, Setting::Unsupported));
    assert_eq!(unread.kms_key, Setting::Is(None));
}
