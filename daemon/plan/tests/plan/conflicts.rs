use daemon_plan::{
    ObjectKey,
    conflict::{Conflict, ConflictError, Decision, Ruling, Scaling, decide, parse, rule},
    managed::scales,
};
use serde_json::{Value, json};

/// A `Status` as the API server answers, with these managers and fields.
fn answer(causes: &[(&str, &str)]) -> Value {
    let causes: Vec<Value> = causes
        .iter()
        .map(|(message, field)| {
            json!({"reason": "FieldManagerConflict", "message": format!("conflict with {message}"), "field": field})
        })
        .collect();
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 409,
        "reason": "Conflict",
        "message": "Apply failed with 1 conflict: conflict with \"kubectl-set\" using apps/v1: .spec",
        "details": {"causes": causes},
    })
}

#[test]
fn the_texts_of_the_server_are_read() {
    let conflicts = parse(&answer(&[
        (
            r#""kubectl-set" using apps/v1 at 2026-07-01T10:00:00Z"#,
            r#".spec.template.spec.containers[name="api"].image"#,
        ),
        (r#""kube-controller-manager" with subresource "scale" using apps/v1"#, ".spec.replicas"),
        (r#""odd \"name\"""#, ".metadata.labels.a.b/c"),
    ]))
    .unwrap();
    let read: Vec<(&str, Option<&str>, &str)> = conflicts
        .iter()
        .map(|conflict| (conflict.manager.as_str(), conflict.subresource.as_deref(), conflict.field.as_str()))
        .collect();
    assert_eq!(
        read,
        [
            ("kubectl-set", None, r#".spec.template.spec.containers[name="api"].image"#),
            ("kube-controller-manager", Some("scale"), ".spec.replicas"),
            (r#"odd "name""#, None, ".metadata.labels.a.b/c"),
        ]
    );
}

#[test]
fn each_manager_has_its_ruling() {
    let image = r#".spec.template.spec.containers[name="api"].image"#;
    let memory = r#".spec.template.spec.containers[name="api"].resources.requests.memory"#;
    let bundle = r#".webhooks[name="a.example.org"].clientConfig.caBundle"#;
    let cases = [
        ("kubectl-client-side-apply", image, Ruling::TakeOver),
        ("kubectl-set", image, Ruling::TakeOver),
        ("kubectl-edit", ".spec.replicas", Ruling::TakeOver),
        ("kubectl", ".spec.replicas", Ruling::TakeOver),
        ("helm", image, Ruling::TakeOver),
        ("kustomize-controller", image, Ruling::TakeOver),
        ("argocd-controller", image, Ruling::TakeOver),
        ("argocd-application-controller", image, Ruling::TakeOver),
        ("before-first-apply", image, Ruling::TakeOver),
        ("kube-controller-manager", ".spec.replicas", Ruling::LeaveField),
        ("keda-operator", ".spec.replicas", Ruling::LeaveField),
        ("vpa-updater", memory, Ruling::LeaveField),
        ("cert-manager-cainjector", bundle, Ruling::LeaveField),
        ("rollouts-controller", ".spec.rules[0].backendRefs", Ruling::LeaveField),
        // A right to one field is no right to another.
        ("kube-controller-manager", image, Ruling::Stop),
        ("vpa-updater", ".spec.replicas", Ruling::Stop),
        ("cert-manager-cainjector", image, Ruling::Stop),
        ("Mozilla", image, Ruling::Stop),
        ("kubectlish", image, Ruling::Stop),
    ];
    for (manager, field, ruling) in cases {
        let conflict =
            Conflict { manager: manager.to_owned(), subresource: None, field: field.parse().unwrap() };
        assert_eq!(rule(&conflict, Scaling::Autoscaled), ruling, "{manager} {field}");
        // An autoscaler that has gone has no right to what it set last.
        let fixed =
            if field == ".spec.replicas" && ruling == Ruling::LeaveField { Ruling::TakeOver } else { ruling };
        assert_eq!(rule(&conflict, Scaling::Fixed), fixed, "{manager} {field}");
    }
}

#[test]
fn an_autoscaler_counts_for_its_own_target_while_it_is_there() {
    let key =
        |kind: &str, namespace: &str| ObjectKey::new("apps", "v1", kind, Some(namespace), "api").unwrap();
    let mut autoscaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": { "name": "any", "namespace": "shop" },
        "spec": { "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "api" } },
    });
    assert!(scales(&autoscaler, &key("Deployment", "shop")));
    assert!(!scales(&autoscaler, &key("StatefulSet", "shop")));
    assert!(!scales(&autoscaler, &key("Deployment", "other")));
    autoscaler["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert!(!scales(&autoscaler, &key("Deployment", "shop")));
}

#[test]
fn one_unknown_manager_stops_all() {
    let kubectl = (r#""kubectl-set" using apps/v1"#, ".spec.paused");
    let scaler = (r#""kube-controller-manager" using apps/v1"#, ".spec.replicas");
    let unknown = (r#""someone" using apps/v1"#, ".spec.minReadySeconds");
    assert_eq!(
        decide(&answer(&[kubectl]), Scaling::Autoscaled),
        Ok(Decision::Resolve { leave: vec![], force: true })
    );
    let leave = vec![".spec.replicas".parse().unwrap()];
    assert_eq!(
        decide(&answer(&[scaler]), Scaling::Autoscaled),
        Ok(Decision::Resolve { leave: leave.clone(), force: false })
    );
    assert_eq!(
        decide(&answer(&[kubectl, scaler]), Scaling::Autoscaled),
        Ok(Decision::Resolve { leave, force: true })
    );
    let Ok(Decision::Stop { conflicts }) = decide(&answer(&[kubectl, scaler, unknown]), Scaling::Autoscaled)
    else {
        panic!("an unknown manager stops")
    };
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0].manager, "someone");
}

#[test]
fn other_answers_are_told_apart() {
    // A stale resource version: a conflict without a cause.
    let stale = json!({"kind": "Status", "code": 409, "reason": "Conflict", "details": {"name": "api"}});
    assert_eq!(decide(&stale, Scaling::Autoscaled), Ok(Decision::Retry));
    let invalid = json!({"kind": "Status", "code": 422, "reason": "Invalid"});
    assert_eq!(
        decide(&invalid, Scaling::Autoscaled),
        Err(ConflictError::Other { reason: "Invalid".to_owned() })
    );
    let odd = answer(&[("nobody", ".spec")]);
    assert!(matches!(decide(&odd, Scaling::Autoscaled), Err(ConflictError::Cause { .. })));
    let odd = answer(&[(r#""a" using v1"#, "")]);
    assert!(matches!(decide(&odd, Scaling::Autoscaled), Err(ConflictError::Cause { .. })));
}
