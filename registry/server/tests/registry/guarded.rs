//! Registries behind TLS, and registries that want to know who asks.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use http::{StatusCode, header};
use registry_client::{BlobSource, ClientError, Credentials, Options, Pushed, Registry, Scheme};
use registry_wire::{Descriptor, Digest, MediaType};
use rustls::pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};

use crate::world::{World, noise, repository};

/// Ends TLS before a plain registry; gives its port and its certificate authority.
async fn encrypted(world: &World) -> (u16, Vec<u8>) {
    let server = world.server.address();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let configuration = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(configuration));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust us ends the handshake.
                let Ok(mut outside) = acceptor.accept(stream).await else { return };
                let mut inside = TcpStream::connect(server).await.unwrap();
                tokio::io::copy_bidirectional(&mut outside, &mut inside).await.ok();
            });
        }
    });
    (port, made.cert.pem().into_bytes())
}

#[tokio::test]
async fn an_encrypted_registry_is_used_when_it_is_trusted() {
    let world = World::start().await;
    let (port, authority) = encrypted(&world).await;
    let address = format!("localhost:{port}");
    let options = |authorities| Options { authorities, attempts: 1, ..Options::default() };
    let client = |options| Registry::with_options(address.parse().unwrap(), Scheme::Https, options).unwrap();
    let trusting = client(options(vec![authority]));
    let blob = noise(1, 2_000_000);
    let (name, digest, source) = (repository("a"), Digest::of(&blob), BlobSource::from(blob.clone()));
    assert_eq!(trusting.put_blob(&name, digest, 2_000_000, &source).await.unwrap(), Pushed::Uploaded);
    let descriptor = Descriptor::of(MediaType::LAYER_TAR_GZIP, &blob);
    assert_eq!(trusting.get_blob(&name, &descriptor, u64::MAX).await.unwrap(), blob);
    let refused = client(options(Vec::new())).check().await.unwrap_err();
    assert!(matches!(refused, ClientError::Unreachable { .. }), "{refused:?}");
    let nonsense = options(vec![b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec()]);
    let nonsense = Registry::with_options(address.parse().unwrap(), Scheme::Https, nonsense);
    assert!(matches!(nonsense, Err(ClientError::Authority { .. })), "{nonsense:?}");
}

#[derive(Debug, Default)]
struct Guard {
    realm: String,
    tokens: AtomicUsize,
    foreign: AtomicUsize,
}

/// A registry that wants a token, and the service that gives one to who has the password.
async fn guarded(State(guard): State<Arc<Guard>>, request: Request) -> Response {
    let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if request.uri().path() == "/token" {
        let query = request.uri().query().unwrap_or_default();
        // me:secret
        if authorization != Some("Basic bWU6c2VjcmV0") || !query.contains("scope=repository%3Aa%3Apull") {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        guard.tokens.fetch_add(1, Ordering::SeqCst);
        return r#"{"token":"opaque"}"#.into_response();
    }
    if authorization == Some("Bearer opaque") {
        return StatusCode::OK.into_response();
    }
    let challenge = format!(r#"Bearer realm="{}",service="s",scope="repository:a:pull""#, guard.realm);
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
}

async fn serve_guarded(realm: &str) -> (String, Arc<Guard>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let realm = realm.replace("HERE", &address);
    let guard = Arc::new(Guard { realm, ..Guard::default() });
    let router = Router::new().fallback(guarded).with_state(Arc::clone(&guard));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, guard)
}

fn me(password: &str) -> Options {
    let credentials = Credentials { username: "me".to_owned(), password: password.to_owned() };
    Options { credentials: Some(credentials), attempts: 1, ..Options::default() }
}

#[tokio::test]
async fn a_token_is_fetched_once_and_kept() {
    let (address, guard) = serve_guarded("http://HERE/token").await;
    let client = |options| Registry::with_options(address.parse().unwrap(), Scheme::Http, options).unwrap();
    let (name, digest) = (repository("a"), Digest::of(b"x"));
    let knows = client(me("secret"));
    assert!(knows.has_blob(&name, &digest).await.unwrap());
    assert!(knows.has_blob(&name, &digest).await.unwrap());
    assert_eq!(guard.tokens.load(Ordering::SeqCst), 1);
    for options in [me("wrong"), Options::default()] {
        let denied = client(options).has_blob(&name, &digest).await.unwrap_err();
        assert!(matches!(denied, ClientError::Denied { status: 401, .. }), "{denied:?}");
        assert!(denied.hint().unwrap().contains(&address));
    }
    assert!(!format!("{:?}", me("secret")).contains("secret"));
}

#[tokio::test]
async fn credentials_go_to_no_other_origin() {
    let foreign = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", foreign.local_addr().unwrap());
    let seen = Arc::new(Guard::default());
    let count = Arc::clone(&seen);
    let router = Router::new().fallback(move || {
        count.foreign.fetch_add(1, Ordering::SeqCst);
        std::future::ready(r#"{"access_token":"opaque"}"#)
    });
    tokio::spawn(async move { axum::serve(foreign, router).await.unwrap() });
    let (address, _) = serve_guarded(&format!("{origin}/token")).await;
    let client = |options| Registry::with_options(address.parse().unwrap(), Scheme::Http, options).unwrap();
    let (name, digest) = (repository("a"), Digest::of(b"x"));
    let refused = client(me("secret")).has_blob(&name, &digest).await.unwrap_err();
    assert!(
        matches!(&refused, ClientError::ForeignTokens { origin: named, .. } if *named == origin),
        "{refused:?}"
    );
    assert_eq!(seen.foreign.load(Ordering::SeqCst), 0, "nothing was sent there");
    let named = Options { token_services: vec![origin], ..me("secret") };
    assert!(client(named).has_blob(&name, &digest).await.unwrap());
    assert_eq!(seen.foreign.load(Ordering::SeqCst), 1);
}
