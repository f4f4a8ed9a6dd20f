//! Writes ONNX files: just enough of `onnx.proto` for the graphs of these tests.

/// A protobuf message under construction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

impl Message {
    pub(crate) fn number(mut self, field: u64, value: i64) -> Self {
        self.varint(field << 3);
        self.varint(value as u64);
        self
    }

    pub(crate) fn bytes(mut self, field: u64, contents: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(contents.len() as u64);
        self.0.extend_from_slice(contents);
        self
    }

    pub(crate) fn text(self, field: u64, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    pub(crate) fn message(self, field: u64, message: &Message) -> Self {
        self.bytes(field, &message.0)
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 128 {
            self.0.push(value as u8 | 128);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// `TensorProto.DataType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Float = 1,
    Int32 = 6,
    Int64 = 7,
    Half = 10,
    Double = 11,
    Bfloat16 = 16,
}

/// A size that the graph fixes, or the name of one that it leaves open; an empty name is unknown.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Dimension {
    Fixed(usize),
    Free(&'static str),
}

/// A graph under construction, and the contents of the file of weights beside it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Graph {
    pub(crate) message: Message,
    /// Name of the file that weights of `float32` go to, if any.
    pub(crate) external: Option<&'static str>,
    /// What belongs into that file.
    pub(crate) data: Vec<u8>,
}

impl Graph {
    fn add(&mut self, field: u64, message: &Message) {
        self.message = std::mem::take(&mut self.message).message(field, message);
    }

    pub(crate) fn input(&mut self, name: &str, element: Type, dimensions: &[Dimension]) {
        self.add(11, &port(name, element, Some(dimensions)));
    }

    pub(crate) fn output(&mut self, name: &str, element: Type, dimensions: Option<&[Dimension]>) {
        self.add(12, &port(name, element, dimensions));
    }

    /// A tensor of weights, in the file beside the graph if there is one.
    pub(crate) fn weights(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        assert_eq!(shape.iter().product::<usize>(), values.len());
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let message = tensor(name, Type::Float, shape);
        let Some(location) = self.external else {
            return self.add(5, &message.bytes(9, &raw));
        };
        let entry = |key, value: &str| Message::default().text(1, key).text(2, value);
        let message = message
            .message(13, &entry("location", location))
            .message(13, &entry("offset", &self.data.len().to_string()))
            .message(13, &entry("length", &raw.len().to_string()))
            .number(14, 1);
        self.data.extend(raw);
        self.add(5, &message);
    }

    pub(crate) fn integers(&mut self, name: &str, values: &[i64]) {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.add(5, &tensor(name, Type::Int64, &[values.len()]).bytes(9, &raw));
    }

    pub(crate) fn node(&mut self, operator: &str, inputs: &[&str], output: &str) {
        self.node_with(operator, inputs, output, &[]);
    }

    /// A node with integer attributes.
    pub(crate) fn node_with(&mut self, operator: &str, inputs: &[&str], output: &str, attributes: &[(&str, i64)]) {
        let mut node = Message::default();
        for input in inputs {
            node = node.text(1, input);
        }
        node = node.text(2, output).text(4, operator);
        for (name, value) in attributes {
            node = node.message(5, &Message::default().text(1, name).number(3, *value).number(20, 2));
        }
        self.add(1, &node);
    }

    /// The file.
    pub(crate) fn model(&self) -> Vec<u8> {
        let graph = self.message.clone().text(2, "test");
        let opset = Message::default().text(1, "").number(2, 17);
        Message::default().number(1, 8).message(8, &opset).message(7, &graph).0
    }
}

fn tensor(name: &str, element: Type, shape: &[usize]) -> Message {
    let sizes = shape.iter().fold(Message::default(), |message, &size| message.number(1, size as i64));
    sizes.number(2, element as i64).text(8, name)
}

fn port(name: &str, element: Type, dimensions: Option<&[Dimension]>) -> Message {
    let mut tensor = Message::default().number(1, element as i64);
    if let Some(dimensions) = dimensions {
        let mut shape = Message::default();
        for dimension in dimensions {
            let message = match dimension {
                Dimension::Fixed(size) => Message::default().number(1, *size as i64),
                Dimension::Free(name) => Message::default().text(2, name),
            };
            shape = shape.message(1, &message);
        }
        tensor = tensor.message(2, &shape);
    }
    Message::default().text(1, name).message(2, &Message::default().message(1, &tensor))
}
