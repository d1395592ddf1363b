//! Pictures of people and groups: which file, and by what right the reader sees it.

use quorate_proto::frame::User;
use quorate_proto::ids::{ConversationId, UserId};
use uuid::Uuid;

/// Whose picture it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Somebody's.
    User(UserId),
    /// A group's.
    Group(ConversationId),
}

/// A picture of somebody or of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Portrait {
    /// The file. Its bytes never change.
    pub file: Uuid,
    /// Whose it is: the server asks by what right one sees it.
    pub of: Whose,
}

impl Portrait {
    /// Where its small image is.
    pub fn path(self) -> String {
        let by = match self.of {
            Whose::User(id) => format!("user={id}"),
            Whose::Group(id) => format!("group={id}"),
        };
        format!("/api/v1/files/{}/thumbnail?{by}", self.file)
    }
}

/// Somebody's picture; `None` without one, and of those who deleted their account.
pub fn portrait_of(user: &User) -> Option<Portrait> {
    let file = user.avatar.filter(|_| !user.deleted && user.id > 0)?;
    Some(Portrait { file, of: Whose::User(user.id) })
}

/// A group's picture.
pub fn portrait_of_group(id: ConversationId, avatar: Option<Uuid>) -> Option<Portrait> {
    avatar.map(|file| Portrait { file, of: Whose::Group(id) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_says_by_what_right() {
        let file = Uuid::from_u128(7);
        let ana = User { id: 3, avatar: Some(file), ..User::default() };
        let path = |portrait: Option<Portrait>| portrait.map(Portrait::path);
        assert_eq!(path(portrait_of(&ana)), Some(format!("/api/v1/files/{file}/thumbnail?user=3")));
        assert_eq!(
            path(portrait_of_group(9, Some(file))),
            Some(format!("/api/v1/files/{file}/thumbnail?group=9"))
        );
        assert_eq!(portrait_of_group(9, None), None);
        assert_eq!(portrait_of(&User { avatar: None, ..ana.clone() }), None);
        assert_eq!(portrait_of(&User { deleted: true, ..ana }), None, "who is gone has no picture");
    }
}
