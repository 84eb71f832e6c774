//! The certificate authority of a bed.

use std::net::IpAddr;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use crate::Error;

/// Signs every certificate of a bed. Its certificate follows from its key, so the key's file is enough to open it again.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    key: String,
}

/// A certificate with its key, both as PEM.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn create() -> Result<Self, Error> {
        let key = KeyPair::generate().map_err(Error::KeyNotMade)?;
        let mut parameters = authority_parameters()?;
        parameters.serial_number = Some(1u64.into());
        let certificate = parameters.self_signed(&key).map_err(Error::AuthorityNotMade)?.pem();
        let text = key.serialize_pem();
        Ok(Self { issuer: Issuer::new(parameters, key), certificate, key: text })
    }

    /// Opens the authority whose certificate and key are in `folder`.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        let read = |name| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).map_err(|source| Error::FileNotRead { path, source })
        };
        let (certificate, text) = (read("ca.crt")?, read("ca.key")?);
        let key = KeyPair::from_pem(&text).map_err(Error::KeyNotRead)?;
        Ok(Self { issuer: Issuer::new(authority_parameters()?, key), certificate, key: text })
    }

    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// An identity for both ends of a connection: the user `name` in `groups`, reachable under `names` and `addresses`.
    pub(crate) fn issue(
        &self,
        name: &str,
        groups: &[&str],
        names: &[&str],
        addresses: &[IpAddr],
    ) -> Result<Identity, Error> {
        let not_issued = |source| Error::CertificateNotIssued { name: name.to_owned(), source };
        let key = KeyPair::generate().map_err(Error::KeyNotMade)?;
        let mut parameters =
            CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())
                .map_err(not_issued)?;
        parameters.subject_alt_names.extend(addresses.iter().map(|address| SanType::IpAddress(*address)));
        parameters.distinguished_name.push(DnType::CommonName, name);
        for group in groups {
            parameters.distinguished_name.push(DnType::OrganizationName, *group);
        }
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = parameters.signed_by(&key, &self.issuer).map_err(not_issued)?.pem();
        Ok(Identity { certificate, key: key.serialize_pem() })
    }
}

/// A pair of keys alone, for signing the tokens of service accounts: the private and the public half as PEM.
pub(crate) fn token_keys() -> Result<(String, String), Error> {
    let key = KeyPair::generate().map_err(Error::KeyNotMade)?;
    Ok((key.serialize_pem(), key.public_key_pem()))
}

fn authority_parameters() -> Result<CertificateParams, Error> {
    let mut parameters = CertificateParams::new(Vec::new()).map_err(Error::AuthorityNotMade)?;
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, "bundle test bed");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(parameters)
}
