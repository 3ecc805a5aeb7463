//! `aws:` of a provider.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::secret::SecretSource;

/// With what requests to AWS are signed, for kinds that sign them (`bedrock`). Empty: what is in the environment (keys, or the web
/// identity of a cluster), the shared credentials file or the container, in this order.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AwsSection {
    /// The id of an access key. It is no secret, and may stand here itself.
    pub access_key_id: Option<SecretSource>,
    /// Its secret.
    pub secret_access_key: Option<SecretSource>,
    /// The token that belongs to it, if it is a temporary one.
    pub session_token: Option<SecretSource>,
    /// A profile with a key of its own in the shared credentials file (`~/.aws/credentials`, or what
    /// AWS_SHARED_CREDENTIALS_FILE names).
    pub profile: Option<String>,
    /// True: the role of the EC2 instance, whose credentials are fetched and renewed.
    pub instance_role: bool,
    /// A role to assume: with the credentials that are named here or found, or with a web identity. By default AWS_ROLE_ARN where
    /// there is one.
    pub role_arn: Option<String>,
    /// A file with the token of a cluster or pipeline that the role trusts, read anew each time. By default what
    /// AWS_WEB_IDENTITY_TOKEN_FILE names, as EKS sets it.
    pub web_identity_token_file: Option<String>,
    /// What the session is called in AWS's logs. By default `sluice`, or AWS_ROLE_SESSION_NAME for a web identity.
    pub role_session_name: Option<String>,
    /// What the owner of a role in another account wants to hear.
    pub external_id: Option<String>,
}
