//! What is no text: images, sound and files; and text that must not change, since somebody signed it. What an operator wants
//! done with them, and how they look where they stand in a text.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is done with images, sound and files, which are not looked into. Film counts as both image and sound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Media {
    /// Pictures, in the request or by their address.
    pub image: MediaAction,
    /// Sound.
    pub audio: MediaAction,
    /// Documents of whatever kind, in the request, by their address or by the name that a provider gave them.
    pub file: MediaAction,
}

/// What is done with one kind of them.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum MediaAction {
    /// It goes where the request goes.
    #[default]
    Allow,
    /// The request goes to in-house targets alone.
    Route,
    /// The request is refused.
    Block,
}

/// A kind of what is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MediaKind {
    /// A picture.
    Image,
    /// Sound.
    Audio,
    /// Moving pictures, with or without sound.
    Video,
    /// Anything else.
    File,
}

/// What is done with reasoning that its provider signed and wants back as it was, if something stands in it that would be
/// replaced elsewhere. Where nothing does, it always goes back as it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SignedThinking {
    /// It goes out as it is.
    Keep,
    /// The request is refused.
    #[default]
    Block,
}

impl Media {
    /// What is done with a kind.
    pub fn action(self, kind: MediaKind) -> MediaAction {
        match kind {
            MediaKind::Image => self.image,
            MediaKind::Audio => self.audio,
            MediaKind::Video => self.image.max(self.audio),
            MediaKind::File => self.file,
        }
    }

    /// Whether all of it goes where the request goes.
    pub fn allows_all(self) -> bool {
        self == Media::default()
    }

    /// Whether any of it is left to in-house targets.
    pub fn routes(self) -> bool {
        [self.image, self.audio, self.file].contains(&MediaAction::Route)
    }
}

impl MediaKind {
    /// Its name where entities are named.
    pub fn entity(self) -> &'static str {
        match self {
            MediaKind::Image => "IMAGE",
            MediaKind::Audio => "AUDIO",
            MediaKind::Video => "VIDEO",
            MediaKind::File => "FILE",
        }
    }

    /// The kind of a text that is a `data:` URL in base64 and nothing else; none if it is another text.
    pub fn of_data_url(text: &str) -> Option<MediaKind> {
        let (media, data) = base64_url(text)?;
        let kind = match media.split(['/', ';']).next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "image" => MediaKind::Image,
            "audio" => MediaKind::Audio,
            "video" => MediaKind::Video,
            _ => MediaKind::File,
        };
        is_base64(data).then_some(kind)
    }
}

/// A text with fewer digits holds no personal data that a pattern could tell.
const FEW_DIGITS: usize = 8;

/// Whether `text` is a `data:` URL (RFC 2397) of an image, a sound or a film in base64, and nothing else: so that nothing
/// hides behind such a beginning.
pub(crate) fn is_media(text: &str) -> bool {
    let kinds = ["image/", "audio/", "video/"];
    base64_url(text)
        .is_some_and(|(media, data)| kinds.iter().any(|kind| media.starts_with(kind)) && is_base64(data))
}

/// The type and the data of a `data:` URL in base64 whose type holds nothing of people's.
pub(crate) fn base64_url(text: &str) -> Option<(&str, &str)> {
    let (head, data) = text.strip_prefix("data:")?.split_once(',')?;
    let media = head.strip_suffix(";base64")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-./;=".contains(&byte);
    let digits = media.bytes().filter(u8::is_ascii_digit).count();
    (media.bytes().all(plain) && digits <= FEW_DIGITS).then_some((media, data))
}

/// Whether all of it are characters of base64, padding at the end.
pub(crate) fn is_base64(text: &str) -> bool {
    let inner = text.trim_end_matches('=');
    text.len() - inner.len() <= 2
        && inner.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_film_is_treated_as_the_stricter_of_picture_and_sound() {
        let media = Media { image: MediaAction::Route, audio: MediaAction::Allow, file: MediaAction::Block };
        assert_eq!(media.action(MediaKind::Video), MediaAction::Route);
        assert_eq!(media.action(MediaKind::File), MediaAction::Block);
        let media = Media { audio: MediaAction::Block, ..media };
        assert_eq!(media.action(MediaKind::Video), MediaAction::Block);
        assert!(media.routes() && !media.allows_all() && Media::default().allows_all());
    }

    #[test]
    fn whatever_the_scanner_leaves_alone_has_a_kind() {
        for (text, kind, alone) in [
            ("data:image/png;base64,QUJD", Some(MediaKind::Image), true),
            ("data:audio/wav;base64,QUJD", Some(MediaKind::Audio), true),
            ("data:video/mp4;base64,QUJD", Some(MediaKind::Video), true),
            ("data:application/pdf;base64,QUJD", Some(MediaKind::File), false),
            ("data:Image/PNG;base64,QUJD", Some(MediaKind::Image), false),
            ("data:text/plain;base64,QUJD", Some(MediaKind::File), false),
            ("data:image/svg+xml,<svg/>", None, false),
            ("data:image/png;base64,QUJD and more", None, false),
            ("data: a, b and c", None, false),
            ("database, and more", None, false),
            ("https://pictures.example/a.png", None, false),
        ] {
            assert_eq!((MediaKind::of_data_url(text), is_media(text)), (kind, alone), "{text}");
        }
    }

    #[test]
    fn actions_are_written_in_lower_case_and_unknown_kinds_refused() {
        let media: Media = serde_json::from_str(r#"{"image":"block","audio":"route"}"#).unwrap();
        assert_eq!(
            (media.image, media.audio, media.file),
            (MediaAction::Block, MediaAction::Route, MediaAction::Allow)
        );
        assert!(serde_json::from_str::<Media>(r#"{"video":"block"}"#).is_err());
        assert_eq!(SignedThinking::default(), SignedThinking::Block);
    }
}
