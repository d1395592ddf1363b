//! What a certificate lets its holder be: a DNS name among its subject alternative names.

use std::fmt;

use rustls::pki_types::{CertificateDer, ServerName};

/// What a process is to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// One of the replicas: calls and answers all the others.
    Replica,
    /// A gateway: vouches for its users.
    Gateway,
    /// An operator: changes members, asks for status.
    Operator,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Replica, Self::Gateway, Self::Operator];

    /// The name that a certificate of this role carries (subject alternative name of type DNS). No host has it: a
    /// certificate moves with its process, whatever address that has.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Replica => "replica.quorate",
            Self::Gateway => "gateway.quorate",
            Self::Operator => "operator.quorate",
        }
    }

    /// The roles that a certificate names; none when it is no certificate at all.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Vec<Self> {
        let Ok(parsed) = webpki::EndEntityCert::try_from(certificate) else { return Vec::new() };
        let carries = |role: &Self| {
            ServerName::try_from(role.name())
                .is_ok_and(|name| parsed.verify_is_valid_for_subject_name(&name).is_ok())
        };
        Self::ALL.into_iter().filter(carries).collect()
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
