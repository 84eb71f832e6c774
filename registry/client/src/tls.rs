//! Whom to trust. The executable is linked statically and may run where there is no system trust at all, so the
//! store is filled here and may stay empty.

use registry_wire::RegistryAddress;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::ClientError;

pub(crate) fn configuration(
    registry: &RegistryAddress,
    authorities: &[Vec<u8>],
) -> Result<ClientConfig, ClientError> {
    let refused = |source| ClientError::Authority { registry: registry.clone(), source };
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::debug!(%error, "a certificate authority of the system is not readable");
    }
    let (_, ignored) = roots.add_parsable_certificates(system.certs);
    if ignored > 0 {
        tracing::debug!(ignored, "certificate authorities of the system that cannot be parsed");
    }
    for pem in authorities {
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| {
                refused(rustls::Error::InvalidCertificate(rustls::CertificateError::BadEncoding))
            })?;
            roots.add(certificate).map_err(refused)?;
        }
    }
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(builder.map_err(refused)?.with_root_certificates(roots).with_no_client_auth())
}
