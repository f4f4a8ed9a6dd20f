//! The wire format of protobuf, as far as writing an ONNX file needs it. [`super::super::protobuf`] reads.

/// A message in the making. Fields may come in any order, and a field may be written several times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// A number, such as `int64`, `int32` or an enum.
    pub(super) fn number(&mut self, field: u32, value: i64) -> &mut Self {
        self.varint(u64::from(field) << 3);
        self.varint(value.cast_unsigned());
        self
    }

    /// A `float`.
    pub(super) fn float(&mut self, field: u32, value: f32) -> &mut Self {
        self.varint(u64::from(field) << 3 | 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// `bytes`, a `string`, or a message that is written already.
    pub(super) fn bytes(&mut self, field: u32, bytes: &[u8]) -> &mut Self {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    /// A message within this one.
    pub(super) fn message(&mut self, field: u32, write: impl FnOnce(&mut Message)) -> &mut Self {
        let mut inner = Message::default();
        write(&mut inner);
        self.bytes(field, &inner.0)
    }

    /// All fields of `other`, as if they had been written here.
    pub(super) fn append(&mut self, other: &Message) -> &mut Self {
        self.0.extend_from_slice(&other.0);
        self
    }

    /// The message as bytes.
    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::super::protobuf::{Fields, Value};
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut message = Message::default();
        message.number(1, 300).number(2, -1).float(3, 0.5).bytes(4, b"text");
        message.message(40, |inner| {
            inner.number(1, 0).bytes(2, &[7; 200]);
        });
        let bytes = message.finish();
        let fields: Vec<_> = Fields::new(&bytes).collect::<Result<_, _>>().unwrap();
        let mut inner = Message::default();
        inner.number(1, 0).bytes(2, &[7; 200]);
        let inner = inner.finish();
        assert_eq!(
            fields,
            [
                (1, Value::Varint(300)),
                (2, Value::Varint(u64::MAX)),
                (3, Value::Fixed),
                (4, Value::Bytes(b"text")),
                (40, Value::Bytes(&inner)),
            ]
        );
    }

    #[test]
    fn bytes_as_the_specification_gives_them() {
        // https://protobuf.dev/programming-guides/encoding: field 1 = 150, field 2 = "testing".
        let mut message = Message::default();
        message.number(1, 150).bytes(2, b"testing");
        assert_eq!(message.finish(), [0x08, 0x96, 0x01, 0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67]);
    }
}
