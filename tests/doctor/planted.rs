//! Misconfigurations of our template.

/// A misconfiguration: what is replaced in our template, under which parameters, and what has to be found.
pub type Planted = (&'static [(&'static str, &'static str)], &'static [&'static str], &'static [&'static str]);

const SQS: &str = "      SqsManagedSseEnabled: true\n      RedrivePolicy";
const REDRIVE: &str = "      RedrivePolicy:
        deadLetterTargetArn: !GetAtt DeadLetterQueue.Arn
        maxReceiveCount: 10
";
const BLOCKED: &str =
    "{ BlockPublicAcls: true, BlockPublicPolicy: true, IgnorePublicAcls: true, RestrictPublicBuckets: true }";
const SOURCE: &str = r#"                aws:SourceArn:
                  !Sub "arn:${AWS::Partition}:s3:::${AWS::StackName}-inbox-${AWS::AccountId}-${AWS::Region}"
"#;
const ACCOUNT: &str = "              StringEquals: { aws:SourceAccount: !Ref AWS::AccountId }\n";
const LIST: &str = "                Action: s3:ListBucket
                Resource: [!GetAtt Inbox.Arn, !GetAtt Outbox.Arn]
";
const SCALING: &str = "            ScalingConfig: { MaximumConcurrency: !Ref WorkerMaximumConcurrency }\n";
const RESPONSES: &str = "            FunctionResponseTypes: [ReportBatchItemFailures]\n";
const DROP: &str = "            Filter: { S3Key: { Rules: [{ Name: prefix, Value: drop/ }] } }\n";
const CALL: &str = "            - Sid: OnlyThroughItsUrl
              Effect: Allow
              Action: lambda:InvokeFunction
              Resource: !GetAtt Api.Arn
              Condition: { Bool: { lambda:InvokedViaFunctionUrl: \"true\" } }
";

/// Each with exactly the findings that it has to have.
pub const PLANTED: &[Planted] = &[
    // Queues.
    (&[("\"120\": { Seconds: \"720\" }", "\"120\": { Seconds: \"719\" }")], &[], &["visibility-short"]),
    (&[("      VisibilityTimeout: 720\n", "      VisibilityTimeout: 600\n")], &[], &["visibility-short"]),
    (&[("MaximumBatchingWindowInSeconds: 0", "MaximumBatchingWindowInSeconds: 1")], &[], &["visibility-short"]),
    (&[("MessageRetentionPeriod: 345600", "MessageRetentionPeriod: 86400")], &[], &["retention-short"]),
    (&[("MessageRetentionPeriod: 1209600", "MessageRetentionPeriod: 345600")], &[], &["dead-letter-retention"]),
    (&[(REDRIVE, "")], &[], &["no-dead-letter-queue"]),
    (&[("maxReceiveCount: 10", "maxReceiveCount: 4")], &[], &["receive-count-low"]),
    (&[(SQS, "      FifoQueue: true\n      RedrivePolicy")], &[], &["fifo-queue"]),
    (&[(SQS, "      KmsMasterKeyId: alias/aws/sqs\n      RedrivePolicy")], &[], &["default-sqs-key"]),
    (&[(SQS, "      SqsManagedSseEnabled: false\n      RedrivePolicy")], &[], &["queue-unencrypted"]),
    (
        &[
            (SQS, "      KmsMasterKeyId: !Ref Key\n      RedrivePolicy"),
            (
                "\nResources:\n",
                "\nResources:\n  Key: { Type: AWS::KMS::Key, Properties: { KeyPolicy: { Statement: [] } } }\n",
            ),
        ],
        &[],
        &["key-without-s3"],
    ),
    // Who may send to the queue, and what is made first.
    (&[("Service: s3.amazonaws.com", "Service: sns.amazonaws.com")], &[], &["queue-policy"]),
    (&[("Service: s3.amazonaws.com", "AWS: \"123456789012\"")], &[], &["queue-policy"]),
    (&[(SOURCE, "                aws:SourceArn: arn:aws:s3:::another\n")], &[], &["queue-policy"]),
    (&[(SOURCE, "                aws:SourceArn: arn:aws:s3:::*\n")], &[], &["queue-policy-open"]),
    (&[(ACCOUNT, "")], &[], &["queue-policy-open"]),
    (&[(SOURCE, "                aws:SourceArn: !GetAtt Inbox.Arn\n")], &[], &["queue-policy-circular"]),
    (&[(SOURCE, "                aws:SourceArn: !Sub \"arn:aws:s3:::${Inbox}\"\n")], &[], &["queue-policy-circular"]),
    (&[("    DependsOn: JobQueuePolicy\n", "")], &[], &["bucket-before-policy"]),
    // Buckets.
    (
        &[("MILLPOND_OUTBOX: !Ref Outbox", "MILLPOND_OUTBOX: !Ref Inbox")],
        &[],
        &["one-bucket", "outbox-feeds-queue", "outbox-cors", "lifecycle-uneven"],
    ),
    (&[(DROP, "            Filter: { S3Key: { Rules: [{ Name: prefix, Value: dropped/ }] } }\n")], &[], &["no-events"]),
    (
        &[(
            DROP,
            "            Filter: { S3Key: { Rules: [{ Name: prefix, Value: drop/ }, { Name: suffix, Value: .csv }] } }\n",
        )],
        &[],
        &["no-events"],
    ),
    (&[("- Event: s3:ObjectCreated:*", "- Event: s3:ObjectCreated:Put")], &[], &["no-events"]),
    (
        &[(
            "  Outbox:\n    Type: AWS::S3::Bucket\n    Properties:\n",
            "  Outbox:\n    Type: AWS::S3::Bucket\n    Properties:\n      NotificationConfiguration:\n        QueueConfigurations: \
             [{ Event: s3:ObjectCreated:*, Queue: !GetAtt JobQueue.Arn }]\n",
        )],
        &[],
        &["outbox-feeds-queue"],
    ),
    (&[("AllowedMethods: [PUT]", "AllowedMethods: [POST]")], &[], &["inbox-cors"]),
    (&[("if-none-match, x-amz-checksum-sha256]\n", "if-none-match]\n")], &[], &["inbox-cors"]),
    (&[("ExposedHeaders: [ETag]", "ExposedHeaders: [Date]")], &[], &["inbox-cors"]),
    (
        &[
            (
                "AllowedMethods: [PUT]\n",
                "AllowedMethods: [PUT]\n            AllowedHeaders: [content-type]\n            ExposedHeaders: [ETag]\n          - \
             AllowedOrigins: [\"*\"]\n            AllowedMethods: [PUT]\n",
            ),
            (
                "[content-type, if-none-match, x-amz-checksum-sha256]\n            ExposedHeaders",
                "[if-none-match, x-amz-checksum-sha256]\n            ExposedHeaders",
            ),
        ],
        &[],
        &["inbox-cors"],
    ),
    (&[("AllowedMethods: [GET, HEAD]", "AllowedMethods: [GET]")], &[], &["outbox-cors"]),
    (&[("Prefix: jobs/, ExpirationInDays: 30", "Prefix: jobs/, ExpirationInDays: 14")], &[], &["lifecycle-short"]),
    (
        &[("Prefix: uploads/, ExpirationInDays: 30", "Prefix: uploads/, ExpirationInDays: 20")],
        &[],
        &["lifecycle-uneven"],
    ),
    (&[("{ Id: results, Status: Enabled,", "{ Id: results, Status: Disabled,")], &[], &["lifecycle-uneven"]),
    (&[("Prefix: results/, ExpirationInDays: 30", "ExpirationInDays: 30")], &[], &["mirror-expires"]),
    (&[(BLOCKED, "{ BlockPublicAcls: true, BlockPublicPolicy: false }")], &[], &["public-access"]),
    // Functions.
    (&[(RESPONSES, "")], &[], &["no-partial-responses"]),
    (&[("MILLPOND_ROLE: sweep", "MILLPOND_ROLE: sweep, MILLPOND_OUTBOX: elsewhere")], &[], &["functions-disagree"]),
    (
        &[("            Queue: !GetAtt DeadLetterQueue.Arn\n", "            Queue: !GetAtt JobQueue.Arn\n")],
        &[],
        &["dead-letters-unhandled"],
    ),
    (
        &[(LIST, "                Action: s3:ListBucket\n                Resource: !GetAtt Outbox.Arn\n")],
        &[],
        &["no-list-bucket"],
    ),
    (
        &[(
            LIST,
            "                Action: s3:ListBucket\n                Resource: [!GetAtt Inbox.Arn, !Sub \"${Outbox.Arn}/*\"]\n",
        )],
        &[],
        &["no-list-bucket"],
    ),
    (
        &[(
            LIST,
            "                Action: s3:List*\n                Resource: [!GetAtt Inbox.Arn, !GetAtt Outbox.Arn]\n                \
             Condition: { StringLike: { s3:prefix: [jobs/*] } }\n",
        )],
        &[],
        &["list-bucket-prefix", "list-bucket-prefix"],
    ),
    (&[("    MinValue: 2\n", "")], &["WorkerMaximumConcurrency=1"], &["concurrency-low"]),
    (&[(SCALING, "")], &[], &["no-maximum-concurrency"]),
    (
        &[
            (SCALING, ""),
            ("      AutoPublishAlias: live", "      ReservedConcurrentExecutions: 5\n      AutoPublishAlias: live"),
        ],
        &[],
        &["reserved-concurrency"],
    ),
    (
        &[(
            "            ScalingConfig: { Max",
            "            ProvisionedPollerConfig: { MinimumPollers: 2 }\n            ScalingConfig: { Max",
        )],
        &[],
        &["provisioned-pollers"],
    ),
    (
        &[("      AutoPublishAlias: live\n", "")],
        &["WorkerProvisionedConcurrency=2"],
        &["provisioned-concurrency-unused"],
    ),
    (
        &[("MILLPOND_ROLE: worker", "MILLPOND_ROLE: worker\n          MILLPOND_VISIBILITY_TIMEOUT_SECONDS: 700")],
        &[],
        &["told-visibility"],
    ),
    (
        &[("MILLPOND_FUNCTION_TIMEOUT_SECONDS: !Ref WorkerTimeout", "MILLPOND_FUNCTION_TIMEOUT_SECONDS: 60")],
        &[],
        &["told-timeout"],
    ),
    (&[("            BatchSize: 10\n", "            BatchSize: 5\n")], &[], &["told-batch-size"]),
    (
        &[("          MILLPOND_BATCH_SIZE: 10\n", ""), ("            BatchSize: 10\n", "            BatchSize: 5\n")],
        &[],
        &["told-batch-size"],
    ),
    // Ways in.
    (&[], &["HttpApiAuthorization=NONE"], &["http-api-open"]),
    (&[("      AuthorizationType: !If [SignedCalls, AWS_IAM, NONE]\n", "")], &[], &["http-api-open"]),
    (
        &[(
            "      ProtocolType: HTTP\n",
            "      ProtocolType: HTTP\n      CorsConfiguration: { AllowOrigins: [\"*\"] }\n",
        )],
        &[],
        &["http-api-cors"],
    ),
    (&[("      Timeout: 29\n", "      Timeout: 60\n")], &[], &["api-timeout"]),
    (&[("      AuthType: AWS_IAM\n", "      AuthType: NONE\n")], &["ApiKind=function-url"], &["function-url-open"]),
    (&[(CALL, "")], &["ApiKind=function-url"], &["function-url-permissions"]),
];
