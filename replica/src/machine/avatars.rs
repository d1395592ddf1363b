//! Avatars: an image that somebody has uploaded is the picture of a user or a group.
//!
//! The file is counted as shown by whoever has it as her picture, as it is by a message; the record of that user or group is where
//! it stands, so that there is no second one to go wrong.

use bytes::Bytes;
use quorate_proto::error::ErrorCode;

use super::files::id_of;
use super::records::File;
use super::{Decision, Step, Tables as _, rejected};
use crate::store::{StoreError, View};

impl File {
    /// Whether it can be an avatar: pages draw its thumbnail.
    fn is_picture(&self) -> bool {
        self.media_type.starts_with("image/") && self.thumbnail_size > 0
    }
}

impl<V: View> Step<'_, V> {
    /// Another avatar in place of `present`, or none, if one is asked for. The caller writes the record that has it.
    pub(super) fn change_avatar(
        &mut self,
        by: u64,
        asked: Option<&Bytes>,
        present: &mut Bytes,
    ) -> Decision<()> {
        let Some(asked) = asked.filter(|asked| **asked != *present) else { return Ok(()) };
        if !asked.is_empty() {
            let Some(id) = id_of(asked) else {
                return rejected(
                    ErrorCode::Invalid,
                    "an avatar is a file's id of 16 bytes, or nothing for none",
                );
            };
            let Some(file) = self.state.file(&id)?.filter(|file| file.owner == by) else {
                return rejected(ErrorCode::NotFound, "you have no such file: upload the picture first");
            };
            if !file.is_picture() {
                return rejected(
                    ErrorCode::Invalid,
                    "an avatar is an image with a thumbnail: upload a PNG, JPEG, GIF or WebP",
                );
            }
            self.show_file(&id, file);
        }
        self.release_avatar(present)?;
        *present = asked.clone();
        Ok(())
    }

    /// Nobody has this avatar any more; empty: there was none.
    pub(super) fn release_avatar(&mut self, avatar: &Bytes) -> Result<(), StoreError> {
        match id_of(avatar) {
            Some(id) => self.release_file(&id),
            None => Ok(()),
        }
    }
}
