//! The proxy settings of apt's configuration (apt.conf(5)): `Acquire::http::Proxy "…";`, flat or in blocks.

use crate::transport::ProxySettings;

enum Token<'a> {
    Word(&'a str),
    Open,
    Close,
    End,
}

/// Takes what a file says into `settings`. What cannot be read is skipped, as other settings are none of ours.
pub(super) fn read(text: &str, settings: &mut ProxySettings) {
    let mut scope: Vec<String> = Vec::new();
    let mut words: Vec<&str> = Vec::new();
    for token in tokens(text) {
        match token {
            Token::Word(word) => words.push(word),
            Token::Open => {
                scope.push(words.first().copied().unwrap_or_default().to_ascii_lowercase());
                words.clear();
            }
            Token::Close => {
                scope.pop();
                words.clear();
            }
            Token::End => {
                if let [name, value] = words[..] {
                    let mut path = scope.clone();
                    path.push(name.to_ascii_lowercase());
                    set(settings, &path.join("::"), value);
                }
                words.clear();
            }
        }
    }
}

fn set(settings: &mut ProxySettings, name: &str, value: &str) {
    let slot = match name {
        "acquire::http::proxy" => &mut settings.http,
        "acquire::https::proxy" => &mut settings.https,
        _ => return,
    };
    *slot = (!value.is_empty() && !value.eq_ignore_ascii_case("direct")).then(|| value.to_owned());
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_ascii_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => {
                let inner = &rest[1..];
                let end = inner.find('"').unwrap_or(inner.len());
                tokens.push(Token::Word(&inner[..end]));
                (end + 2).min(rest.len())
            }
            '{' | '}' | ';' => {
                tokens.push(match first {
                    '{' => Token::Open,
                    '}' => Token::Close,
                    _ => Token::End,
                });
                1
            }
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            _ => {
                let is_end = |character: char| character.is_whitespace() || "\"{};".contains(character);
                let end = rest.find(is_end).unwrap_or(rest.len()).max(first.len_utf8());
                tokens.push(Token::Word(&rest[..end]));
                end
            }
        };
        rest = rest[length..].trim_ascii_start();
    }
    tokens
}
