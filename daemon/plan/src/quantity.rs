//! Resource quantities: `1000m` is `1`, `1Gi` is `1073741824`.

/// Whether two texts are the same quantity; false if one is none.
pub fn same_quantity(one: &str, two: &str) -> bool {
    matches!((parse(one), parse(two)), (Some(one), Some(two)) if one == two)
}

/// A quantity in billionths, the finest that the API server knows.
fn parse(text: &str) -> Option<i128> {
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = unsigned.find(|character: char| !character.is_ascii_digit() && character != '.');
    let (digits, suffix) = unsigned.split_at(end.unwrap_or(unsigned.len()));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    let places = i32::try_from(fraction.len()).ok()?;
    let scaled = match binary(suffix) {
        Some(factor) => scale(mantissa.checked_mul(factor)?, 9 - places)?,
        None => scale(mantissa, 9 - places + decimal(suffix)?)?,
    };
    Some(sign * scaled)
}

/// Multiplies by a power of ten; what is finer than the API server knows is rounded up, as it does.
fn scale(value: i128, power: i32) -> Option<i128> {
    let factor = 10_i128.checked_pow(power.unsigned_abs())?;
    if power >= 0 { value.checked_mul(factor) } else { Some((value + factor - 1) / factor) }
}

fn binary(suffix: &str) -> Option<i128> {
    let power = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].iter().position(|own| *own == suffix)?;
    Some(1_i128 << (10 * (power + 1)))
}

fn decimal(suffix: &str) -> Option<i32> {
    Some(match suffix {
        "n" => -9,
        "u" => -6,
        "m" => -3,
        "" => 0,
        "k" => 3,
        "M" => 6,
        "G" => 9,
        "T" => 12,
        "P" => 15,
        "E" => 18,
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            exponent.parse().ok().filter(|exponent: &i32| exponent.abs() <= 24)?
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_and_unequal() {
        for (one, two) in [
            ("1", "1000m"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("100m", "0.1"),
            ("1Gi", "1024Mi"),
            ("1Gi", "1073741824"),
            ("1.5Gi", "1536Mi"),
            ("1e3", "1k"),
            ("1E3", "1000"),
            ("2E", "2000P"),
            ("-1", "-1000m"),
            ("0", "0m"),
            ("1n", "0.1n"),
        ] {
            assert!(same_quantity(one, two), "{one} {two}");
        }
        for (one, two) in
            [("1", "1m"), ("1G", "1Gi"), ("abc", "abc"), ("", ""), ("1.2.3", "1.2.3"), ("1x", "1x")]
        {
            assert!(!same_quantity(one, two), "{one} {two}");
        }
    }

    proptest! {
        #[test]
        fn every_text_is_read_without_panic(text in "[-+]?[0-9.]{0,40}[a-zA-Z0-9-]{0,6}") {
            let same = same_quantity(&text, &text);
            prop_assert_eq!(same, parse(&text).is_some());
        }

        #[test]
        fn millis_and_whole(count in 0_u32..100_000) {
            let (whole, millis) = (count.to_string(), format!("{count}000m"));
            prop_assert!(same_quantity(&whole, &millis));
        }
    }
}
