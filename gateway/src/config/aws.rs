//! `aws:` of a provider.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::secret::SecretSource;

/// With what requests to AWS are signed, for kinds that sign them (`bedrock`). Empty: what is in the environment, the shared
/// credentials file or the container, in this order.
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
}
