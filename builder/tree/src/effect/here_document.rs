//! Here-documents of scripts: files that a script carries in itself.

/// The text of a here-document, counted from 1.
pub(super) fn nth(script: &str, number: usize) -> Option<String> {
    let mut lines = script.lines();
    let mut count = 0;
    while let Some(line) = lines.next() {
        if line.trim_start().starts_with('#') {
            continue;
        }
        let Some((_, after)) = line.split_once("<<") else { continue };
        let (after, strips) = after.strip_prefix('-').map_or((after, false), |after| (after, true));
        let word = after.trim_start().trim_start_matches(['"', '\'', '\\']);
        let end: String =
            word.chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect();
        if end.is_empty() {
            continue;
        }
        count += 1;
        let mut text = String::new();
        for line in lines.by_ref() {
            let line = if strips { line.trim_start_matches('\t') } else { line };
            if line == end {
                break;
            }
            text.push_str(line);
            text.push('\n');
        }
        if count == number {
            return Some(text);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_counted() {
        let script =
            "#!/bin/sh\ncat <<EOF >a\none\n two\nEOF\n  cat > b <<- 'END'\n\tthree\n\tEND\nx=$((1<<2))\n";
        assert_eq!(nth(script, 1).as_deref(), Some("one\n two\n"));
        assert_eq!(nth(script, 2).as_deref(), Some("three\n"));
        assert_eq!(nth("cat <<EOF\nEOF\n", 2), None);
    }
}
