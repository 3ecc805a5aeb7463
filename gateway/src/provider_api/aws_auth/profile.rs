//! The file in which AWS's tools keep keys: sections of names and values.

use std::path::PathBuf;

use aws_credential_types::Credentials;

use super::{Env, UNFIT, known};

/// The credentials of a profile.
///
/// # Errors
/// What is wrong, without the secret.
pub(super) fn read(profile: &str, env: Env<'_>) -> Result<Credentials, String> {
    let named = env("AWS_SHARED_CREDENTIALS_FILE").filter(|path| !path.trim().is_empty()).map(PathBuf::from);
    let usual = || {
        let home = env("HOME").or_else(|| env("USERPROFILE"))?;
        Some(PathBuf::from(home).join(".aws").join("credentials"))
    };
    let path = named.or_else(usual).ok_or_else(|| "there is no file of AWS credentials".to_owned())?;
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("the file {} can't be read: {error}", path.display()))?;
    let place = format!("the profile '{profile}' in {}", path.display());
    let Some(values) = section(&text, profile) else { return Err(format!("{place} is not there")) };
    let value = |name: &str| values.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
    let (Some(id), Some(secret)) = (value("aws_access_key_id"), value("aws_secret_access_key")) else {
        return Err(format!(
            "{place} has no key of its own; its roles, processes and single sign-on are not followed: name a role in 'role_arn'"
        ));
    };
    known(id, secret, value("aws_session_token")).ok_or_else(|| format!("{place} {UNFIT}"))
}

/// The names and values of a section.
fn section<'t>(text: &'t str, wanted: &str) -> Option<Vec<(&'t str, &'t str)>> {
    let mut values = None;
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            // The other file of these tools calls them `profile NAME`.
            inside = name.trim() == wanted
                || name.trim().strip_prefix("profile ").is_some_and(|n| n.trim() == wanted);
            if inside {
                values.get_or_insert_with(Vec::new);
            }
        } else if let Some((name, value)) =
            line.split_once('=').filter(|_| inside && !line.starts_with(['#', ';']))
        {
            values.get_or_insert_with(Vec::new).push((name.trim(), value.trim()));
        }
    }
    values
}
