use proptest::prelude::*;

use super::*;

fn repository() -> impl Strategy<Value = RepositoryName> {
    // Words that the grammar itself uses make the hardest names.
    let word = prop_oneof![
        "[a-z0-9]{1,5}",
        Just("blobs".to_owned()),
        Just("uploads".to_owned()),
        Just("manifests".to_owned()),
        Just("tags".to_owned()),
        Just("list".to_owned()),
        Just("referrers".to_owned()),
        Just("v2".to_owned()),
    ];
    prop::collection::vec(word, 1..5).prop_map(|words| words.join("/").parse().unwrap())
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::from_sha256)
}

fn tag() -> impl Strategy<Value = Tag> {
    prop_oneof!["[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}", Just("list".to_owned()), Just("uploads".to_owned())]
        .prop_map(|text| text.parse().unwrap())
}

fn reference() -> impl Strategy<Value = Reference> {
    prop_oneof![tag().prop_map(Reference::Tag), digest().prop_map(Reference::Digest)]
}

fn session() -> impl Strategy<Value = SessionId> {
    any::<[u8; 16]>().prop_map(SessionId::from_random)
}

fn page() -> impl Strategy<Value = Page> {
    (any::<Option<u32>>(), prop::option::of(".+")).prop_map(|(limit, after)| Page { limit, after })
}

fn start() -> impl Strategy<Value = UploadStart> {
    prop_oneof![
        Just(UploadStart::Session),
        digest().prop_map(UploadStart::Whole),
        (digest(), prop::option::of(repository()))
            .prop_map(|(digest, from)| UploadStart::Mount { digest, from }),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    let artifact_type =
        prop::option::of("[a-z]{1,5}/[a-z][a-z.+-]{0,9}".prop_map(|text| text.parse().unwrap()));
    prop_oneof![
        any::<bool>().prop_map(|head| Request::Check { head }),
        page().prop_map(|page| Request::ListRepositories { page }),
        (repository(), page()).prop_map(|(repository, page)| Request::ListTags { repository, page }),
        (repository(), digest(), artifact_type).prop_map(|(repository, subject, artifact_type)| {
            Request::ListReferrers { repository, subject, artifact_type }
        }),
        (repository(), reference(), any::<bool>())
            .prop_map(|(repository, reference, head)| Request::ReadManifest { repository, reference, head }),
        (repository(), reference(), prop::collection::vec(tag(), 0..3))
            .prop_map(|(repository, reference, tags)| Request::WriteManifest { repository, reference, tags }),
        (repository(), reference())
            .prop_map(|(repository, reference)| Request::DeleteManifest { repository, reference }),
        (repository(), digest(), any::<bool>()).prop_map(|(repository, digest, head)| Request::ReadBlob {
            repository,
            digest,
            head
        }),
        (repository(), digest()).prop_map(|(repository, digest)| Request::DeleteBlob { repository, digest }),
        (repository(), start()).prop_map(|(repository, start)| Request::StartUpload { repository, start }),
        (repository(), session())
            .prop_map(|(repository, session)| Request::ReadUpload { repository, session }),
        (repository(), session())
            .prop_map(|(repository, session)| Request::AppendUpload { repository, session }),
        (repository(), session(), digest()).prop_map(|(repository, session, digest)| Request::FinishUpload {
            repository,
            session,
            digest
        }),
        (repository(), session())
            .prop_map(|(repository, session)| Request::CancelUpload { repository, session }),
    ]
}

fn parse_target(method: &str, target: &str) -> Result<Request, RequestError> {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    Request::parse(method, path, query)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_server_reads_what_the_client_writes(request in request()) {
        let target = request.target();
        prop_assert_eq!(parse_target(request.method().name(), &target), Ok(request));
    }

    #[test]
    fn no_text_makes_the_parser_fail_and_what_it_takes_is_stable(
        method in prop_oneof![Just("GET"), Just("HEAD"), Just("POST"), Just("PUT"), Just("PATCH"), Just("DELETE"), Just("X")],
        path in "/(v2/)?([a-z.%/_:A-F0-9-]|blobs/|uploads|manifests/|tags/list|referrers/|sha256:|\\PC){0,12}",
        query in prop::option::of("([a-z=&%+0-9]|n=|last=|digest=|mount=|from=|tag=|\\PC){0,10}"),
    ) {
        if let Ok(request) = Request::parse(method, &path, query.as_deref()) {
            let target = request.target();
            let path = target.split('?').next().unwrap();
            prop_assert!(path.split('/').all(|part| part != ".."), "{}", target);
            prop_assert_eq!(parse_target(request.method().name(), &target), Ok(request));
        }
    }
}

#[test]
fn refusals() {
    let digest = Digest::of(b"x");
    let session = SessionId::from_random([7; 16]);
    for (method, target, status, code) in [
        ("GET", "/".to_owned(), 404, ErrorCode::NotFound),
        ("GET", "/v1/".to_owned(), 404, ErrorCode::NotFound),
        ("GET", "/v2/a".to_owned(), 404, ErrorCode::NotFound),
        ("GET", "/v2/a/b".to_owned(), 404, ErrorCode::NotFound),
        ("GET", "/v2/a/tags/other".to_owned(), 404, ErrorCode::NotFound),
        ("POST", "/v2/".to_owned(), 405, ErrorCode::Unsupported),
        ("DELETE", "/v2/_catalog".to_owned(), 405, ErrorCode::Unsupported),
        ("BREW", "/v2/a/manifests/v1".to_owned(), 405, ErrorCode::Unsupported),
        ("POST", format!("/v2/a/blobs/{digest}"), 405, ErrorCode::Unsupported),
        ("GET", "/v2/a/blobs/uploads/".to_owned(), 405, ErrorCode::Unsupported),
        ("GET", "/v2/../a/manifests/v1".to_owned(), 400, ErrorCode::NameInvalid),
        ("GET", "/v2/%2e%2e/manifests/v1".to_owned(), 400, ErrorCode::NameInvalid),
        ("GET", "/v2/A/manifests/v1".to_owned(), 400, ErrorCode::NameInvalid),
        ("GET", "/v2//manifests/v1".to_owned(), 400, ErrorCode::NameInvalid),
        ("GET", "/v2/a/blobs/sha256:00".to_owned(), 400, ErrorCode::DigestInvalid),
        ("GET", "/v2/a/blobs/../x".to_owned(), 404, ErrorCode::NotFound),
        ("GET", "/v2/a/manifests/sha256:00".to_owned(), 400, ErrorCode::DigestInvalid),
        ("GET", format!("/v2/a/manifests/sha512:{}", "0".repeat(128)), 400, ErrorCode::DigestInvalid),
        ("GET", "/v2/a/manifests/.wrong".to_owned(), 404, ErrorCode::ManifestUnknown),
        ("GET", "/v2/a/manifests/%2e%2e%2fx".to_owned(), 404, ErrorCode::ManifestUnknown),
        ("PUT", "/v2/a/manifests/.wrong".to_owned(), 400, ErrorCode::TagInvalid),
        ("PUT", format!("/v2/a/manifests/{digest}?tag=.wrong"), 400, ErrorCode::TagInvalid),
        ("GET", "/v2/a/referrers/v1".to_owned(), 400, ErrorCode::DigestInvalid),
        ("GET", format!("/v2/a/referrers/{digest}?artifactType=x"), 400, ErrorCode::Unsupported),
        ("GET", "/v2/a/tags/list?n=-1".to_owned(), 400, ErrorCode::Unsupported),
        ("GET", "/v2/a/tags/list?last=%f".to_owned(), 400, ErrorCode::Unsupported),
        ("PATCH", "/v2/a/blobs/uploads/1".to_owned(), 404, ErrorCode::BlobUploadUnknown),
        ("PUT", format!("/v2/a/blobs/uploads/{session}"), 400, ErrorCode::DigestInvalid),
        ("PUT", format!("/v2/a/blobs/uploads/{session}?digest=md5:0"), 400, ErrorCode::DigestInvalid),
        ("POST", "/v2/a/blobs/uploads/?digest=1".to_owned(), 400, ErrorCode::DigestInvalid),
        ("POST", "/v2/a/blobs/uploads/?digest-algorithm=sha512".to_owned(), 400, ErrorCode::Unsupported),
    ] {
        let error = parse_target(method, &target).expect_err(&target);
        assert_eq!((error.status(), error.code()), (status, code), "{method} {target}: {error}");
    }
}

#[test]
fn spellings_that_mean_the_same() {
    let digest = Digest::of(b"x");
    let escaped = format!("/v2/a/blobs/{}", digest.to_string().replace(':', "%3A"));
    let read = Request::ReadBlob { repository: "a".parse().unwrap(), digest, head: false };
    assert_eq!(parse_target("GET", &escaped), Ok(read));
    let start = Request::StartUpload { repository: "a".parse().unwrap(), start: UploadStart::Session };
    assert_eq!(parse_target("POST", "/v2/a/blobs/uploads"), Ok(start));
    let mount = parse_target("POST", &format!("/v2/a/blobs/uploads/?mount={digest}&from=WRONG"));
    let start = UploadStart::Mount { digest, from: None };
    assert_eq!(mount, Ok(Request::StartUpload { repository: "a".parse().unwrap(), start }));
    let all = parse_target("GET", "/v2/a/tags/list?n=99999999999999999999&last=");
    let page = Page { limit: Some(u32::MAX), after: None };
    assert_eq!(all, Ok(Request::ListTags { repository: "a".parse().unwrap(), page }));
    let plus = parse_target("GET", &format!("/v2/a/referrers/{digest}?artifactType=a/b+json"));
    assert!(
        matches!(plus, Ok(Request::ListReferrers { artifact_type: Some(kind), .. }) if kind.as_str() == "a/b+json")
    );
}
