//! Dead Simple Signing Envelope, protocol 1: what is signed is the type and the payload, each with its length.

/// The text that is signed for `payload` of `payload_type`: `DSSEv1 LEN(type) type LEN(payload) payload`.
pub fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut text = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    text.extend_from_slice(payload);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_vector_of_the_specification() {
        let text = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world");
        assert_eq!(text, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }
}
