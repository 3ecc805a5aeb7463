//! `entra:` of a provider.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::secret::SecretSource;

/// An identity of Microsoft Entra ID that gets its tokens, for kinds of Azure (`azure`, `azure_v1`), in the place of a key. Empty:
/// what the environment says: AZURE_TENANT_ID and AZURE_CLIENT_ID with AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE, else the
/// managed identity of an App Service.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EntraSection {
    /// The directory that the identity is in. By default AZURE_TENANT_ID.
    pub tenant_id: Option<String>,
    /// The application; of a managed identity, the one of several that a machine has. By default AZURE_CLIENT_ID.
    pub client_id: Option<String>,
    /// The application's secret: `env:NAME` or `file:PATH`.
    pub client_secret: Option<SecretSource>,
    /// A file with a token of a cluster or pipeline that the application trusts (workload identity federation), read anew each time.
    pub federated_token_file: Option<String>,
    /// True: the identity of the machine (a VM, AKS's node) or of the App Service.
    pub managed_identity: bool,
    /// What tokens are for, where it is not Azure's public cloud. By default `https://cognitiveservices.azure.com/.default`.
    pub scope: Option<String>,
}
