//! Every verb has a wrong input that is shown here.

use crate::session::Session;

#[test]
fn every_verb_is_refused_something() {
    let cases = [
        include_str!("cluster.rs"),
        include_str!("inputs.rs"),
        include_str!("publishing.rs"),
        include_str!("trust.rs"),
    ]
    .concat();
    let help = Session::new().run("help");
    let verbs: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| *verb != "help")
        .collect();
    assert!(verbs.len() >= 18, "only {verbs:?} were seen");
    let missing: Vec<_> = verbs
        .into_iter()
        .filter(|verb| !cases.contains(&format!("\"{verb} ")) && !cases.contains(&format!("\"{verb}\"")))
        .collect();
    assert!(missing.is_empty(), "no wrong input for {missing:?}");
}
