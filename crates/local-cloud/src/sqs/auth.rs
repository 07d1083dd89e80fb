//! Verifying Signature Version 4: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>.

use std::fmt::Write;
use std::time::SystemTime;

use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use http::request::Parts;
use jiff::{Timestamp, ToSpan, civil, tz::TimeZone};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::error::SqsError;

const SERVICE: &str = "sqs";
/// How far the client's clock may be off.
const SKEW_MAX_MINUTES: i64 = 15;

/// The one access key and its secret.
pub(crate) struct Keys {
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
}

struct Authorization<'a> {
    access_key: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

/// Refuses a request that is not signed by our key, for this region and service, now, over exactly this content.
pub(super) fn verify(request: &Parts, body: &[u8], keys: &Keys, region: &str, now: Timestamp) -> Result<(), SqsError> {
    let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
    let authorization = header("authorization").ok_or_else(SqsError::missing_token)?;
    let claimed =
        parse(authorization).ok_or_else(|| SqsError::incomplete_signature("the authorization header is malformed"))?;
    if claimed.access_key != keys.access_key {
        return Err(SqsError::unknown_key());
    }
    if claimed.region != region || claimed.service != SERVICE {
        return Err(SqsError::bad_signature("the credential should be scoped to this region and to sqs"));
    }

    let amz_date = header("x-amz-date").ok_or_else(|| SqsError::incomplete_signature("x-amz-date is missing"))?;
    let signed_at = civil::DateTime::strptime("%Y%m%dT%H%M%SZ", amz_date)
        .and_then(|date| date.to_zoned(TimeZone::UTC))
        .map_err(|_| SqsError::incomplete_signature("x-amz-date is malformed"))?
        .timestamp();
    let skew = SKEW_MAX_MINUTES.minutes();
    if signed_at < now - skew || signed_at > now + skew {
        return Err(SqsError::bad_signature("signature expired, or its time lies in the future"));
    }
    if !amz_date.starts_with(claimed.date) {
        return Err(SqsError::bad_signature("the date in the credential is not that of x-amz-date"));
    }

    let signed: Vec<&str> = claimed.signed_headers.split(';').collect();
    let unsigned_amz =
        request.headers.keys().any(|name| name.as_str().starts_with("x-amz-") && !signed.contains(&name.as_str()));
    if !signed.contains(&"host") || unsigned_amz {
        return Err(SqsError::bad_signature("the host and all x-amz- headers must be signed"));
    }
    let canonical = canonical_request(request, &signed, body)
        .ok_or_else(|| SqsError::bad_signature("a signed header is missing"))?;
    let string_to_sign = format!(
        "AWS4-HMAC-SHA256\n{amz_date}\n{}/{}/{}/aws4_request\n{}",
        claimed.date,
        claimed.region,
        claimed.service,
        hex::encode(Sha256::digest(canonical)),
    );
    let key = generate_signing_key(&keys.secret_key, SystemTime::from(signed_at), region, SERVICE);
    let expected = calculate_signature(key, string_to_sign.as_bytes());
    if expected.as_bytes().ct_eq(claimed.signature.as_bytes()).into() {
        Ok(())
    } else {
        Err(SqsError::bad_signature("the request signature we calculated does not match the one you provided"))
    }
}

fn parse(header: &str) -> Option<Authorization<'_>> {
    let fields = header.strip_prefix("AWS4-HMAC-SHA256")?;
    let (mut credential, mut signed_headers, mut signature) = (None, None, None);
    for field in fields.split(',') {
        match field.trim().split_once('=')? {
            ("Credential", value) => credential = Some(value),
            ("SignedHeaders", value) => signed_headers = Some(value),
            ("Signature", value) => signature = Some(value),
            _ => return None,
        }
    }
    let mut scope = credential?.rsplitn(5, '/');
    if scope.next()? != "aws4_request" {
        return None;
    }
    let (service, region, date, access_key) = (scope.next()?, scope.next()?, scope.next()?, scope.next()?);
    if date.len() != 8 {
        return None;
    }
    let (signed_headers, signature) = (signed_headers?, signature?);
    Some(Authorization { access_key, date, region, service, signed_headers, signature })
}

fn canonical_request(request: &Parts, signed: &[&str], body: &[u8]) -> Option<String> {
    let mut query: Vec<&str> =
        request.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).collect();
    query.sort_unstable();
    // Every service but S3 signs the path encoded twice.
    let path = request.uri.path().replace('%', "%25");
    let mut canonical = format!("{}\n{path}\n{}\n", request.method, query.join("&"));
    for name in signed {
        let values = request.headers.get_all(*name).iter();
        let values: Option<Vec<String>> =
            values.map(|value| Some(value.to_str().ok()?.split_whitespace().collect::<Vec<_>>().join(" "))).collect();
        let values = values.filter(|values| !values.is_empty())?;
        // Writing to a string cannot fail.
        let _ = writeln!(canonical, "{name}:{}", values.join(","));
    }
    let _ = write!(canonical, "\n{}\n{}", signed.join(";"), hex::encode(Sha256::digest(body)));
    Some(canonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authorization_header_is_taken_apart() {
        let header = "AWS4-HMAC-SHA256 Credential=key/with/slash/20250102/eu-west-1/sqs/aws4_request, \
                      SignedHeaders=host;x-amz-date, Signature=abc";
        let parsed = parse(header).expect("well formed");
        assert_eq!((parsed.access_key, parsed.date), ("key/with/slash", "20250102"));
        assert_eq!((parsed.region, parsed.service), ("eu-west-1", "sqs"));
        assert_eq!((parsed.signed_headers, parsed.signature), ("host;x-amz-date", "abc"));
        assert!(parse("AWS4-HMAC-SHA256 Credential=a/b/c, SignedHeaders=host, Signature=x").is_none());
        assert!(parse("Basic abc").is_none());
    }
}
