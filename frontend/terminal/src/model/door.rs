//! The form at which one signs in or up.

use super::Editor;

/// Which field the keys go to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Field {
    /// The user name.
    #[default]
    Name,
    /// The password, which is not shown.
    Password,
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Door {
    /// An account is to be made.
    pub new: bool,
    /// The user name.
    pub name: Editor,
    /// The password.
    pub password: Editor,
    /// Where the cursor is.
    pub field: Field,
    /// The server is asked.
    pub busy: bool,
    /// Why it did not work.
    pub error: Option<String>,
}

impl Door {
    /// The field that the keys go to.
    pub fn editor(&mut self) -> &mut Editor {
        match self.field {
            Field::Name => &mut self.name,
            Field::Password => &mut self.password,
        }
    }

    /// The other field.
    pub fn turn(&mut self) {
        self.field = if self.field == Field::Name { Field::Password } else { Field::Name };
    }

    /// What is to be asked of the server, if both fields are filled: name and password.
    pub fn submit(&mut self) -> Option<(String, String)> {
        let name = self.name.text().trim().to_owned();
        if name.is_empty() {
            self.field = Field::Name;
            self.error = Some("Type your name.".to_owned());
            return None;
        }
        if self.password.is_empty() {
            self.field = Field::Password;
            return None;
        }
        self.busy = true;
        self.error = None;
        Some((name, self.password.text().to_owned()))
    }

    /// It did not work: the name stays, the password is typed again.
    pub fn refused(&mut self, why: String) {
        self.busy = false;
        self.error = Some(why);
        self.password.take();
        self.field = Field::Password;
    }
}
