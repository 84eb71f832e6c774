//! The protocol's words: statuses, headers and error codes.

use registry_wire::{Digest, ErrorCode, ErrorDocument, Index, MediaType, StoredManifest};
use reqwest::{Method, Response, header::HeaderMap};

use crate::world::{World, http, manifest, noise, push, repository, tag};

/// Sends a request with header lines and a body.
async fn send(world: &World, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let mut request = http().request(Method::from_bytes(method.as_bytes()).unwrap(), world.url(target));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.to_vec()).send().await.unwrap()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

/// The status, and the error code if there is one.
async fn outcome(response: Response) -> (u16, Option<ErrorCode>) {
    let status = response.status().as_u16();
    let body = response.bytes().await.unwrap();
    (status, ErrorDocument::parse(&body).map(|document| document.errors[0].code))
}

async fn begin(world: &World, name: &str) -> String {
    let response = send(world, "POST", &format!("/v2/{name}/blobs/uploads/"), &[], b"").await;
    assert_eq!(response.status(), 202);
    header(response.headers(), "location").to_owned()
}

#[tokio::test]
async fn the_base_and_what_is_no_operation() {
    let world = World::start().await;
    let base = send(&world, "GET", "/v2/", &[], b"").await;
    assert_eq!(base.status(), 200);
    assert_eq!(header(base.headers(), "docker-distribution-api-version"), "registry/2.0");
    let digest = Digest::of(b"none");
    for (method, target, expected) in [
        ("GET", "/", (404, ErrorCode::NotFound)),
        ("GET", "/v2/a/blobs/sha256:1", (400, ErrorCode::DigestInvalid)),
        ("GET", "/v2/A/tags/list", (400, ErrorCode::NameInvalid)),
        ("GET", "/v2/a/tags/list", (404, ErrorCode::NameUnknown)),
        ("GET", "/v2/a/manifests/v1", (404, ErrorCode::ManifestUnknown)),
        ("DELETE", "/v2/a/manifests/v1", (404, ErrorCode::ManifestUnknown)),
        ("GET", &format!("/v2/a/manifests/{digest}"), (404, ErrorCode::ManifestUnknown)),
        ("GET", &format!("/v2/a/blobs/{digest}"), (404, ErrorCode::BlobUnknown)),
        ("DELETE", &format!("/v2/a/blobs/{digest}"), (404, ErrorCode::BlobUnknown)),
        ("GET", "/v2/a/blobs/uploads/00000000000000000000000000000000", (404, ErrorCode::BlobUploadUnknown)),
        (
            "PATCH",
            "/v2/a/blobs/uploads/00000000000000000000000000000000",
            (404, ErrorCode::BlobUploadUnknown),
        ),
        (
            "DELETE",
            "/v2/a/blobs/uploads/00000000000000000000000000000000",
            (404, ErrorCode::BlobUploadUnknown),
        ),
        (
            "PUT",
            &format!("/v2/a/blobs/uploads/00000000000000000000000000000000?digest={digest}"),
            (404, ErrorCode::BlobUploadUnknown),
        ),
        ("PUT", "/v2/", (405, ErrorCode::Unsupported)),
    ] {
        let (status, code) = outcome(send(&world, method, target, &[], b"").await).await;
        assert_eq!((status, code), (expected.0, Some(expected.1)), "{method} {target}");
    }
    let refers = send(&world, "GET", &format!("/v2/a/referrers/{digest}"), &[], b"").await;
    assert_eq!(refers.status(), 200, "a list of referrers is never unknown");
}

#[tokio::test]
async fn blobs_in_one_request_and_their_ranges() {
    let world = World::start().await;
    let blob = noise(1, 600_000);
    let digest = Digest::of(&blob);
    let wrong = format!("/v2/a/blobs/uploads/?digest={}", Digest::of(b"other"));
    assert_eq!(
        outcome(send(&world, "POST", &wrong, &[], &blob).await).await,
        (400, Some(ErrorCode::DigestInvalid))
    );
    assert!(world.files("uploads").is_empty() && world.files("blobs").is_empty());
    let target = format!("/v2/a/blobs/uploads/?digest={digest}");
    let stored = send(&world, "POST", &target, &[], &blob).await;
    assert_eq!(stored.status(), 201);
    let location = header(stored.headers(), "location").to_owned();
    assert_eq!(location, format!("/v2/a/blobs/{digest}"));
    assert_eq!(header(stored.headers(), "docker-content-digest"), digest.to_string());

    let head = send(&world, "HEAD", &location, &[], b"").await;
    assert_eq!((head.status().as_u16(), header(head.headers(), "content-length")), (200, "600000"));
    assert_eq!(header(head.headers(), "accept-ranges"), "bytes");
    for (range, status, expected, content_range) in [
        ("bytes=0-9", 206, &blob[..10], "bytes 0-9/600000"),
        ("bytes=300000-", 206, &blob[300_000..], "bytes 300000-599999/600000"),
        ("bytes=-5", 206, &blob[599_995..], "bytes 599995-599999/600000"),
        ("bytes=5-9999999", 206, &blob[5..], "bytes 5-599999/600000"),
        ("what=1", 200, &blob[..], ""),
    ] {
        let part = send(&world, "GET", &location, &[("range", range)], b"").await;
        assert_eq!(
            (part.status().as_u16(), header(part.headers(), "content-range")),
            (status, content_range),
            "{range}"
        );
        assert_eq!(header(part.headers(), "content-length"), expected.len().to_string());
        assert_eq!(part.bytes().await.unwrap(), expected, "{range}");
    }
    let beyond = send(&world, "GET", &location, &[("range", "bytes=600000-")], b"").await;
    assert_eq!(header(beyond.headers(), "content-range"), "bytes */600000");
    assert_eq!(outcome(beyond).await, (416, Some(ErrorCode::RangeInvalid)));
    assert_eq!(send(&world, "DELETE", &location, &[], b"").await.status(), 202);
    assert_eq!(send(&world, "GET", &location, &[], b"").await.status(), 404);
}

#[tokio::test]
async fn chunks_come_in_order_or_not_at_all() {
    let world = World::start().await;
    let blob = noise(2, 3_000);
    let digest = Digest::of(&blob);
    let location = begin(&world, "a/b").await;
    let octets = ("content-type", "application/octet-stream");
    let patch = async |range: &str, bytes: &[u8]| {
        let headers = if range.is_empty() { vec![octets] } else { vec![octets, ("content-range", range)] };
        send(&world, "PATCH", &location, &headers, bytes).await
    };
    let ahead = patch("1000-1999", &blob[1000..2000]).await;
    assert_eq!((ahead.status().as_u16(), header(ahead.headers(), "range")), (416, "0-0"));
    let first = patch("0-999", &blob[..1000]).await;
    assert_eq!((first.status().as_u16(), header(first.headers(), "range")), (202, "0-999"));
    assert_eq!(header(first.headers(), "location"), location);
    let again = patch("0-999", &blob[..1000]).await;
    assert_eq!((again.status().as_u16(), header(again.headers(), "range")), (416, "0-999"));
    for bad in ["bytes=1000-1999", "1000-", "1000-1998", "1999-1000", "x"] {
        assert_eq!(patch(bad, &blob[1000..2000]).await.status(), 400, "{bad}");
    }
    let second = patch("", &blob[1000..2000]).await;
    assert_eq!((second.status().as_u16(), header(second.headers(), "range")), (202, "0-1999"));
    let status = send(&world, "GET", &location, &[], b"").await;
    assert_eq!((status.status().as_u16(), header(status.headers(), "range")), (204, "0-1999"));
    let finish = format!("{location}?digest={digest}");
    let disorder = send(&world, "PUT", &finish, &[("content-range", "1999-2998")], &blob[2000..]).await;
    assert_eq!(disorder.status(), 416, "the last request is checked, too");
    assert_eq!(send(&world, "PUT", &location, &[], &blob[2000..]).await.status(), 400, "a digest is needed");
    let done = send(&world, "PUT", &finish, &[("content-range", "2000-2999")], &blob[2000..]).await;
    assert_eq!(done.status(), 201);
    assert_eq!(send(&world, "PUT", &finish, &[], b"").await.status(), 404, "an upload ends once");
    let read = send(&world, "GET", &format!("/v2/a/b/blobs/{digest}"), &[], b"").await;
    assert_eq!(read.bytes().await.unwrap(), blob);
}

#[tokio::test]
async fn an_upload_belongs_to_its_repository_and_can_be_cancelled() {
    let world = World::start().await;
    let location = begin(&world, "one").await;
    let elsewhere = location.replace("/one/", "/two/");
    let finish = format!("?digest={}", Digest::of(b"x"));
    for (method, target) in [
        ("GET", elsewhere.clone()),
        ("PATCH", elsewhere.clone()),
        ("DELETE", elsewhere.clone()),
        ("PUT", elsewhere.clone() + &finish),
    ] {
        assert_eq!(send(&world, method, &target, &[], b"x").await.status(), 404, "{method}");
    }
    assert_eq!(send(&world, "DELETE", &location, &[], b"").await.status(), 204);
    assert_eq!(send(&world, "GET", &location, &[], b"").await.status(), 404);
    assert!(world.files("uploads").is_empty());
    let wrong = begin(&world, "one").await;
    assert_eq!(send(&world, "PATCH", &wrong, &[], b"y").await.status(), 202);
    let answer = send(&world, "PUT", &(wrong.clone() + &finish), &[], b"").await;
    assert_eq!(outcome(answer).await, (400, Some(ErrorCode::DigestInvalid)));
    assert_eq!(send(&world, "GET", &wrong, &[], b"").await.status(), 404);
    assert!(world.files("uploads").is_empty() && world.files("blobs").is_empty());
}

#[tokio::test]
async fn more_uploads_than_are_kept_open_all_end_well() {
    let world = World::start().await;
    let mut locations = Vec::new();
    for number in 0..200_u8 {
        let location = begin(&world, "a").await;
        assert_eq!(send(&world, "PATCH", &location, &[], &[number, 1]).await.status(), 202);
        locations.push((location, number));
    }
    for (location, number) in locations {
        let digest = Digest::of(&[number, 1, 2]);
        let done = send(&world, "PUT", &format!("{location}?digest={digest}"), &[], &[2]).await;
        assert_eq!(done.status(), 201, "{number}");
    }
    assert_eq!(world.files("blobs").len(), 200);
}

#[tokio::test]
async fn manifests_are_checked_and_kept_as_received() {
    let world = World::start().await;
    let (client, name) = (world.client(), repository("a"));
    let image = push(&client, &name, &tag("v1"), b"layer").await;
    let kind = ("content-type", "application/vnd.oci.image.manifest.v1+json; charset=utf-8");
    // Another spelling of the same document is another manifest.
    let spelled =
        serde_json::to_vec_pretty(&serde_json::from_slice::<serde_json::Value>(image.bytes()).unwrap());
    let spelled = spelled.unwrap();
    let digest = Digest::of(&spelled);
    let put = async |reference: &str, headers: &[(&str, &str)], body: &[u8]| {
        outcome(send(&world, "PUT", &format!("/v2/a/manifests/{reference}"), headers, body).await).await
    };
    assert_eq!(put("v2", &[kind], &spelled).await, (201, None));
    let read = send(&world, "GET", "/v2/a/manifests/v2", &[], b"").await;
    assert_eq!(header(read.headers(), "content-type"), MediaType::IMAGE_MANIFEST.as_str());
    assert_eq!(header(read.headers(), "docker-content-digest"), digest.to_string());
    assert_eq!(read.bytes().await.unwrap(), spelled);
    let head = send(&world, "HEAD", "/v2/a/manifests/v2", &[], b"").await;
    assert_eq!(header(head.headers(), "content-length"), spelled.len().to_string());

    let etag = format!("\"{digest}\"");
    for (value, status) in [(etag.as_str(), 304), ("\"x\"", 200), ("\"x\", *", 304)] {
        let answer = send(&world, "GET", "/v2/a/manifests/v2", &[("if-none-match", value)], b"").await;
        assert_eq!(
            (answer.status().as_u16(), header(answer.headers(), "etag")),
            (status, etag.as_str()),
            "{value}"
        );
    }

    let other = image.digest().to_string();
    let index = ("content-type", MediaType::IMAGE_INDEX.as_str().to_owned());
    let index = (index.0, index.1.as_str());
    let large = vec![b' '; 4 * 1024 * 1024 + 1];
    let lost = StoredManifest::from_index(Index::of(vec![manifest(b"lost", &[], None).descriptor()]));
    for (what, reference, headers, body, expected) in [
        ("another digest", other.as_str(), vec![kind], spelled.as_slice(), (400, ErrorCode::DigestInvalid)),
        ("no media type", "v3", vec![], &spelled, (400, ErrorCode::ManifestInvalid)),
        (
            "a foreign type",
            "v3",
            vec![("content-type", "text/plain")],
            &spelled,
            (400, ErrorCode::ManifestInvalid),
        ),
        ("two types", "v3", vec![index], &spelled, (400, ErrorCode::ManifestInvalid)),
        ("no JSON", "v3", vec![kind], b"{", (400, ErrorCode::ManifestInvalid)),
        ("too large", "v3", vec![kind], &large, (413, ErrorCode::SizeInvalid)),
        ("a lost child", "v3", vec![index], lost.bytes(), (400, ErrorCode::ManifestBlobUnknown)),
        (
            "a lost blob",
            "v3",
            vec![kind],
            manifest(b"lost", &[], None).bytes(),
            (400, ErrorCode::ManifestBlobUnknown),
        ),
    ] {
        assert_eq!(put(reference, &headers, body).await, (expected.0, Some(expected.1)), "{what}");
    }
    assert_eq!(send(&world, "GET", "/v2/a/manifests/v3", &[], b"").await.status(), 404);
    let almost = [vec![b' '; 4 * 1024 * 1024 - spelled.len()], spelled.clone()].concat();
    assert_eq!(put("large", &[kind], &almost).await, (201, None), "4 MiB are allowed");
}

#[tokio::test]
async fn subjects_are_said_and_filters_are_named() {
    let world = World::start().await;
    let (client, name) = (world.client(), repository("a"));
    let image = push(&client, &name, &tag("v1"), b"layer").await;
    let config = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    let missing = manifest(b"never pushed", &[], None).descriptor();
    for subject in [image.descriptor(), missing] {
        let note = manifest(config, &[], Some(subject.clone()));
        let (target, kind) = (format!("/v2/a/manifests/{}", note.digest()), note.media_type().as_str());
        let put = send(&world, "PUT", &target, &[("content-type", kind)], note.bytes()).await;
        assert_eq!(put.status(), 201);
        assert_eq!(header(put.headers(), "oci-subject"), subject.digest.to_string());
        for (query, filters, count) in [
            ("", "", 1),
            ("?artifactType=application%2Fvnd.test.note", "artifactType", 1),
            ("?artifactType=application/other", "artifactType", 0),
        ] {
            let list =
                send(&world, "GET", &format!("/v2/a/referrers/{}{query}", subject.digest), &[], b"").await;
            assert_eq!(header(list.headers(), "oci-filters-applied"), filters);
            assert_eq!(header(list.headers(), "content-type"), MediaType::IMAGE_INDEX.as_str());
            let list: Index = serde_json::from_slice(&list.bytes().await.unwrap()).unwrap();
            assert_eq!(list.manifests.len(), count, "{query}");
        }
    }
}

#[tokio::test]
async fn pages_have_links() {
    let world = World::start().await;
    let (client, name) = (world.client(), repository("a"));
    for version in ["v2", "v1", "v3"] {
        push(&client, &name, &tag(version), b"layer").await;
    }
    push(&client, &repository("b"), &tag("v1"), b"layer").await;
    for (target, body, link) in [
        ("/v2/a/tags/list", r#"{"name":"a","tags":["v1","v2","v3"]}"#, ""),
        (
            "/v2/a/tags/list?n=2",
            r#"{"name":"a","tags":["v1","v2"]}"#,
            "</v2/a/tags/list?n=2&last=v2>; rel=\"next\"",
        ),
        ("/v2/a/tags/list?n=2&last=v2", r#"{"name":"a","tags":["v3"]}"#, ""),
        ("/v2/a/tags/list?n=0", r#"{"name":"a","tags":[]}"#, ""),
        ("/v2/a/tags/list?last=v9", r#"{"name":"a","tags":[]}"#, ""),
        ("/v2/_catalog", r#"{"repositories":["a","b"]}"#, ""),
        ("/v2/_catalog?n=1", r#"{"repositories":["a"]}"#, "</v2/_catalog?n=1&last=a>; rel=\"next\""),
    ] {
        let list = send(&world, "GET", target, &[], b"").await;
        assert_eq!(header(list.headers(), "link"), link, "{target}");
        assert_eq!(list.text().await.unwrap(), body, "{target}");
    }
}

#[tokio::test]
async fn one_folder_has_one_registry() {
    let world = World::start().await;
    let options = registry_server::ServerOptions::new(world.server.address(), world.root.path().to_owned());
    let second = registry_server::Server::start(options).await.unwrap_err();
    assert!(matches!(second, registry_server::ServerError::InUse { .. }), "{second:?}");
    assert!(second.hint().is_some());
    let elsewhere = tempfile::tempdir().unwrap();
    let options = registry_server::ServerOptions::new(world.server.address(), elsewhere.path().to_owned());
    let taken = registry_server::Server::start(options).await.unwrap_err();
    assert!(matches!(taken, registry_server::ServerError::Listen { .. }), "{taken:?}");
    world.server.stop().await.unwrap();
}
