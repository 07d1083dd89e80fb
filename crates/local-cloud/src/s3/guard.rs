//! What real S3 checks of a signed request beyond its signature, and `s3s` does not.
//!
//! A presigned URL is given to someone who is not trusted with the key. Whoever has it may send headers that were not
//! signed; most are harmless, but an `x-amz-*` header changes what the request does (`x-amz-copy-source` makes a copy of
//! a PUT), so S3 refuses any that the signature does not cover. See
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>.

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use s3s::{S3Error, S3ErrorCode, s3_error};

/// Seven days.
const EXPIRES_MAX_S: u64 = 604_800;

/// Refuses what must not reach the operations.
pub(crate) fn check(request: &Parts, region: &str) -> Result<(), S3Error> {
    let parameters = query_parameters(request);
    let parameter = |name: &str| {
        let found = parameters.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    };
    let authorization = request.headers.get(AUTHORIZATION);
    if parameter("AWSAccessKeyId").is_some()
        || parameter("Signature").is_some()
        || authorization.is_some_and(|value| value.as_bytes().starts_with(b"AWS "))
    {
        return Err(s3_error!(
            InvalidRequest,
            "the authorization mechanism you have provided is not supported, use AWS4-HMAC-SHA256"
        ));
    }
    match (parameter("X-Amz-Signature"), authorization) {
        (None, None) => Ok(()),
        (Some(_), Some(_)) => Err(s3_error!(InvalidArgument, "only one authentication mechanism is allowed")),
        (Some(_), None) => {
            let expires = parameter("X-Amz-Expires").and_then(|seconds| seconds.parse::<u64>().ok());
            if expires.is_none_or(|seconds| seconds > EXPIRES_MAX_S) {
                return Err(query_error("X-Amz-Expires must be from 0 to 604800 seconds"));
            }
            let signed = parameter("X-Amz-SignedHeaders").unwrap_or_default();
            check_scope(parameter("X-Amz-Credential").unwrap_or_default(), region, query_error)?;
            check_signed(request, signed)
        }
        (None, Some(value)) => {
            let value = value.to_str().map_err(|_| header_error("the authorization header is malformed"))?;
            let field = |name: &str| {
                let mut fields = value.split([',', ' ']).map(str::trim);
                fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
            };
            check_scope(field("Credential"), region, header_error)?;
            check_signed(request, field("SignedHeaders"))
        }
    }
}

/// Parameters of the signature itself.
const SIGNATURE_PARAMETERS: [&str; 8] = [
    "x-amz-algorithm",
    "x-amz-content-sha256",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
];

/// Some SDKs presign `x-amz-*` headers as query parameters, which S3 then takes for headers. They are signed with the
/// rest of the query, and so mean what they say: a checksum there must hold, a condition must be met.
pub(crate) fn parameters_to_headers(request: &mut Parts) {
    for (name, value) in query_parameters(request) {
        let name = name.to_ascii_lowercase();
        if !name.starts_with("x-amz-") || SIGNATURE_PARAMETERS.contains(&name.as_str()) {
            continue;
        }
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            request.headers.entry(name).or_insert(value);
        }
    }
}

/// The address less the parameters of a signature, once that is verified.
pub(super) fn without_signature(uri: &Uri) -> Result<Uri, S3Error> {
    let is_kept = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        !SIGNATURE_PARAMETERS.contains(&name.to_ascii_lowercase().as_str())
    };
    let kept: Vec<&str> = uri.query().unwrap_or_default().split('&').filter(is_kept).collect();
    format!("{}?{}", uri.path(), kept.join("&")).parse().map_err(|_| s3_error!(InvalidURI))
}

fn query_error(message: &'static str) -> S3Error {
    S3Error::with_message(S3ErrorCode::AuthorizationQueryParametersError, message)
}

fn header_error(message: &'static str) -> S3Error {
    S3Error::with_message(S3ErrorCode::AuthorizationHeaderMalformed, message)
}

fn query_parameters(request: &Parts) -> Vec<(String, String)> {
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let query = request.uri.query().unwrap_or_default();
    query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

/// A credential is `<key>/<date>/<region>/<service>/aws4_request`.
fn check_scope(credential: &str, region: &str, error: fn(&'static str) -> S3Error) -> Result<(), S3Error> {
    let mut fields = credential.rsplit('/');
    if fields.next() != Some("aws4_request") {
        return Err(error("the credential is malformed"));
    }
    if fields.next() != Some("s3") {
        return Err(error("the service of the credential must be s3"));
    }
    if fields.next() != Some(region) {
        return Err(error("the region of the credential is wrong"));
    }
    Ok(())
}

/// Every `x-amz-*` header, and the host, must be signed; every signed header must be there.
fn check_signed(request: &Parts, signed: &str) -> Result<(), S3Error> {
    let signed: Vec<&str> = signed.split(';').collect();
    if !signed.contains(&"host") {
        return Err(s3_error!(AccessDenied, "the host header must be signed"));
    }
    for name in request.headers.keys() {
        let name = name.as_str();
        if name.starts_with("x-amz-") && !signed.contains(&name) {
            return Err(s3_error!(AccessDenied, "there were headers present in the request which were not signed"));
        }
    }
    if signed.iter().any(|name| !request.headers.contains_key(*name)) {
        return Err(s3_error!(SignatureDoesNotMatch, "a signed header is missing"));
    }
    Ok(())
}
