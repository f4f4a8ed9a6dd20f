//! Safetensors files, memory-mapped: names to shaped, typed bytes, copied at most once.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use half::f16;
use memmap2::Mmap;
use rayon::prelude::*;
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

use crate::error::{Code, Error, Result};

/// One mapped file.
#[derive(Debug)]
struct MappedFile {
    path: PathBuf,
    map: Mmap,
}

/// The tensors of a model, from one file or from all of its shards.
#[derive(Debug)]
pub struct Checkpoint {
    tensors: HashMap<String, Weight>,
    prefix: String,
    files: Vec<PathBuf>,
}

/// One tensor in a mapped file. Cloning it copies no data.
#[derive(Debug, Clone)]
pub struct Weight {
    file: Arc<MappedFile>,
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    start: usize,
    end: usize,
}

impl Checkpoint {
    /// Maps `files` and reads their headers.
    ///
    /// # Errors
    /// `BAD_CHECKPOINT` naming the file: missing, cut, an absurd header, a tensor that stands in two files.
    pub fn open(files: &[PathBuf]) -> Result<Self> {
        let mut tensors = HashMap::new();
        for path in files {
            let file =
                File::open(path).map_err(|error| Error::bad_checkpoint(path, format!("cannot be opened: {error}")))?;
            // SAFETY: the map is read-only. As with every mapped model file, somebody who cuts the file
            // while it is in use ends the process; nothing that we do writes to it.
            let map = unsafe { Mmap::map(&file) }
                .map_err(|error| Error::bad_checkpoint(path, format!("cannot be mapped: {error}")))?;
            let (header, metadata) = SafeTensors::read_metadata(&map)
                .map_err(|error| Error::bad_checkpoint(path, format!("is not a whole safetensors file: {error:?}")))?;
            let data = header + size_of::<u64>();
            let file = Arc::new(MappedFile { path: path.clone(), map });
            for name in metadata.offset_keys() {
                let Some(info) = metadata.info(&name) else { continue };
                let weight = Weight {
                    file: Arc::clone(&file),
                    name: name.clone(),
                    dtype: info.dtype,
                    shape: info.shape.clone(),
                    start: data + info.data_offsets.0,
                    end: data + info.data_offsets.1,
                };
                if let Some(other) = tensors.insert(name.clone(), weight) {
                    let other = other.file.path.display();
                    return Err(Error::bad_checkpoint(path, format!("tensor {name} also stands in {other}")));
                }
            }
        }
        Ok(Checkpoint { tensors, prefix: String::new(), files: files.to_vec() })
    }

    /// Finds the prefix (`model.`, `bert.`, none …) under which this checkpoint has `anchor`; all
    /// later look-ups use it.
    ///
    /// # Errors
    /// `BAD_CHECKPOINT` if no tensor, or more than one, ends in `anchor`.
    pub fn with_prefix_of(mut self, anchor: &str) -> Result<Self> {
        let mut prefixes: Vec<&str> = self
            .tensors
            .keys()
            .filter_map(|name| name.strip_suffix(anchor))
            .filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))
            .collect();
        prefixes.sort_unstable_by_key(|prefix| prefix.len());
        match prefixes.as_slice() {
            [prefix] => {
                self.prefix = (*prefix).to_owned();
                Ok(self)
            }
            [] => Err(self.broken(format!("has no tensor {anchor}, with or without a prefix"))),
            several => Err(self.broken(format!("has {anchor} under several prefixes: {several:?}"))),
        }
    }

    /// The tensor `name` (without the prefix), which must have `shape`.
    ///
    /// # Errors
    /// `BAD_CHECKPOINT` if it is missing or of another shape.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<Weight> {
        let full = format!("{}{name}", self.prefix);
        let weight = self.tensors.get(&full).ok_or_else(|| self.broken(format!("has no tensor {full}")))?;
        if weight.shape != shape {
            let found = &weight.shape;
            return Err(weight.broken(format!("has shape {found:?}, but config.json asks for {shape:?}")));
        }
        Ok(weight.clone())
    }

    /// Number of values of all tensors together.
    pub fn values(&self) -> u64 {
        self.tensors.values().map(|weight| weight.len() as u64).sum()
    }

    /// Whether there is a tensor `name` (without the prefix).
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(&format!("{}{name}", self.prefix))
    }

    fn broken(&self, message: impl std::fmt::Display) -> Error {
        // With shards, a tensor that is in none of them is told of the folder.
        match self.files.as_slice() {
            [one] => Error::bad_checkpoint(one, message),
            several => {
                let place = several.first().and_then(|first| first.parent()).unwrap_or(Path::new("."));
                Error::bad_checkpoint(place, message)
            }
        }
    }
}

impl Weight {
    /// Name as in the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its dimensions; matrices are `[out, in]`.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// [`Code::BadCheckpoint`] about this tensor.
    pub fn broken(&self, message: impl std::fmt::Display) -> Error {
        Error::bad_checkpoint(&self.file.path, format!("tensor {}: {message}", self.name))
            .with("tensor", self.name.clone())
    }

    /// Type of its elements.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The file that it lies in, as it was given, and its bytes there.
    pub fn place(&self) -> (&Path, std::ops::Range<usize>) {
        (&self.file.path, self.start..self.end)
    }

    /// Whether its elements are 8-bit integers.
    pub fn is_int8(&self) -> bool {
        self.dtype == Dtype::I8
    }

    /// Its 8-bit integers.
    ///
    /// # Errors
    /// `MODEL_UNSUPPORTED` for another dtype, `OUT_OF_MEMORY`.
    pub fn to_i8(&self) -> Result<Vec<i8>> {
        if !self.is_int8() {
            return Err(Error::unsupported(format!("tensor {} is {:?}, not I8", self.name, self.dtype)));
        }
        let mut out = Vec::new();
        out.try_reserve_exact(self.len()).map_err(|_| self.no_memory::<i8>())?;
        out.extend(self.bytes().iter().map(|byte| byte.cast_signed()));
        self.forget_pages(self.start..self.end);
        Ok(out)
    }

    fn bytes(&self) -> &[u8] {
        &self.file.map[self.start..self.end]
    }

    fn size(&self) -> Result<usize> {
        match self.dtype {
            Dtype::F32 => Ok(4),
            Dtype::F16 | Dtype::BF16 => Ok(2),
            other => Err(Error::unsupported(format!(
                "{}: tensor {} is {other:?}; supported are F32, F16 and BF16",
                self.file.path.display(),
                self.name
            ))),
        }
    }

    /// Reads elements `from..from + out.len()` as f32, without a check of their values.
    ///
    /// # Errors
    /// `MODEL_UNSUPPORTED` for a dtype other than F32, F16, BF16.
    pub fn read(&self, from: usize, out: &mut [f32]) -> Result<()> {
        let size = self.size()?;
        let bytes = &self.bytes()[from * size..(from + out.len()) * size];
        match self.dtype {
            Dtype::F32 => {
                for (value, bytes) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    *value = f32::from_le_bytes(*bytes);
                }
            }
            Dtype::BF16 => {
                for (value, bytes) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                    *value = f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
                }
            }
            _ => {
                for (value, bytes) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                    *value = f16::from_le_bytes(*bytes).to_f32();
                }
            }
        }
        Ok(())
    }

    /// As [`Weight::read`], for values that are kept.
    ///
    /// # Errors
    /// As there; `BAD_CHECKPOINT` for NaN or infinity.
    pub fn read_finite(&self, from: usize, out: &mut [f32]) -> Result<()> {
        self.read(from, out)?;
        if all_finite(out) { Ok(()) } else { Err(self.not_finite()) }
    }

    /// Gives back the mapped pages of a tensor that was read and is not needed from the file again.
    pub fn forget(&self) {
        self.forget_pages(self.start..self.end);
    }

    /// Appends the tensor to `out` as f32, and drops the mapped pages that were read.
    ///
    /// # Errors
    /// `BAD_CHECKPOINT` for NaN or infinity, `OUT_OF_MEMORY`, `MODEL_UNSUPPORTED` for other dtypes.
    pub fn append_f32(&self, out: &mut Vec<f32>) -> Result<()> {
        self.append(out, |value| value)
    }

    /// As [`Weight::append_f32`], rounded to f16; a value that f16 cannot hold is `INVALID_OPTION`.
    ///
    /// # Errors
    /// As there.
    pub fn append_f16(&self, out: &mut Vec<f16>) -> Result<()> {
        let start = out.len();
        self.append(out, f16::from_f32)?;
        if out[start..].par_iter().all(|value| value.is_finite()) {
            Ok(())
        } else {
            let name = &self.name;
            Err(Error::invalid_option(
                "dtype",
                format!("dtype 'float16' cannot hold the values of {name}; use 'bfloat16' or 'float32'."),
            ))
        }
    }

    fn append<T: Copy + Default + Send + Sync>(
        &self,
        out: &mut Vec<T>,
        convert: impl Fn(f32) -> T + Sync,
    ) -> Result<()> {
        // Small enough for the L2 cache, large enough to share among threads.
        const BLOCK: usize = 1 << 16;
        self.size()?;
        out.try_reserve_exact(self.len()).map_err(|_| self.no_memory::<T>())?;
        let start = out.len();
        out.resize(start + self.len(), T::default());
        let finite = out[start..]
            .par_chunks_mut(BLOCK)
            .enumerate()
            .map(|(block, out)| {
                let mut values = vec![0f32; out.len()];
                self.read(block * BLOCK, &mut values)?;
                for (out, value) in out.iter_mut().zip(&values) {
                    *out = convert(*value);
                }
                Ok::<bool, Error>(all_finite(&values))
            })
            .try_reduce(|| true, |a, b| Ok(a && b))?;
        self.forget_pages(self.start..self.end);
        if finite { Ok(()) } else { Err(self.not_finite()) }
    }

    /// Looks at every value once, a part of the file at a time: a table is not copied, so that it must not
    /// count as memory in use either.
    ///
    /// # Errors
    /// `BAD_CHECKPOINT` for NaN or infinity.
    pub fn check_finite(&self) -> Result<()> {
        const BLOCK: usize = 1 << 16;
        const PART: usize = 64 * BLOCK;
        let size = self.size()?;
        for part in (0..self.len()).step_by(PART) {
            let end = self.len().min(part + PART);
            let finite = (part..end)
                .into_par_iter()
                .step_by(BLOCK)
                .map(|from| {
                    let mut values = vec![0f32; BLOCK.min(end - from)];
                    self.read(from, &mut values)?;
                    Ok::<bool, Error>(all_finite(&values))
                })
                .try_reduce(|| true, |a, b| Ok(a && b))?;
            self.forget_pages(self.start + part * size..self.start + end * size);
            if !finite {
                return Err(self.not_finite());
            }
        }
        Ok(())
    }

    /// Gives mapped pages back, so that a load does not count the file and the copy both.
    fn forget_pages(&self, bytes: std::ops::Range<usize>) {
        #[cfg(unix)]
        {
            // Whole pages inside the range: its neighbours may be in use.
            const PAGE: usize = 1 << 16;
            let start = bytes.start.next_multiple_of(PAGE);
            let end = bytes.end / PAGE * PAGE;
            if start < end {
                // SAFETY: the map is a read-only view of a file, so dropped pages are read again when touched.
                let _ = unsafe {
                    self.file.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, end - start)
                };
            }
        }
    }

    fn not_finite(&self) -> Error {
        self.broken("holds NaN or infinity")
    }

    fn no_memory<T>(&self) -> Error {
        let bytes = self.len() * size_of::<T>();
        Error::new(
            Code::OutOfMemory,
            format!("No memory for tensor {} ({bytes} bytes). Use dtype 'bfloat16' or a smaller model.", self.name),
        )
        .with("bytes", bytes)
    }
}

/// NaN and infinity are what remains different from zero when multiplied by zero.
fn all_finite(values: &[f32]) -> bool {
    values.iter().map(|value| value * 0.0).sum::<f32>() == 0.0
}
