//! Owns the reading of a pickle: a stack machine of the instructions that data need. Names are looked up in a table and
//! never in Python; what a pickle asks to be called is answered from that table or refused. Never runs anything.

use std::collections::BTreeMap;

use super::super::error::ImportError;
use super::layout::Layout;
use super::value::{Global, Heap, Storage, StoredTensor, Value, plain};

/// Instructions of one pickle. A tensor takes about thirty; this is for thirty thousand of them.
const INSTRUCTIONS_MAX: usize = 1 << 20;

/// Values on the stack. Python puts no more than a thousand entries of a dictionary there at once.
const STACK_MAX: usize = 1 << 16;

/// Containers that are open within one another. Python itself gives up at about a thousand.
const MARKS_MAX: usize = 1000;

/// Letters of the name of a storage, which is a number. Each tensor looks it up.
const KEY_MAX: usize = 64;

/// Reads the pickle that begins at `at`, and moves `at` behind it. What it holds is added to `heap`.
pub(super) fn read<'a>(
    bytes: &'a [u8],
    at: &mut usize,
    heap: &mut Heap<'a>,
) -> Result<Value<'a>, ImportError> {
    let mut machine = Machine {
        rest: bytes.get(*at..).unwrap_or_default(),
        heap,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: BTreeMap::new(),
    };
    for _ in 0..INSTRUCTIONS_MAX {
        if let Some(value) = machine.step()? {
            *at = bytes.len() - machine.rest.len();
            return Ok(value);
        }
    }
    Err(ImportError::TooLarge(format!(
        "its pickle has more than {INSTRUCTIONS_MAX} instructions"
    )))
}

struct Machine<'a, 'h> {
    rest: &'a [u8],
    heap: &'h mut Heap<'a>,
    stack: Vec<Value<'a>>,
    /// Heights of the stack at which containers were opened.
    marks: Vec<usize>,
    memo: BTreeMap<u32, Value<'a>>,
}

fn damaged(what: &str) -> ImportError {
    ImportError::Damaged(what.to_owned())
}

impl<'a> Machine<'a, '_> {
    /// One instruction. The last one gives the pickle's value.
    fn step(&mut self) -> Result<Option<Value<'a>>, ImportError> {
        let [instruction] = self.array()?;
        match instruction {
            b'.' => return self.pop().map(Some),
            // The protocol's version, and the length of what follows: nothing hangs on either.
            0x80 => self.take(1).map(drop)?,
            0x95 => self.take(8).map(drop)?,
            b'(' => self.mark()?,
            b'0' => self.pop().map(drop)?,
            b'1' => self.pop_mark().map(drop)?,
            b'2' => {
                let top = self.top()?;
                self.push(top)?;
            }
            b'h' | b'j' | b'q' | b'r' | 0x94 => self.memo(instruction)?,
            b'N' | 0x88 | 0x89 | b'K' | b'M' | b'J' | b'G' | 0x8A | 0x8B => {
                let value = self.number(instruction)?;
                self.push(value)?;
            }
            b'X' | 0x8C | 0x8D | b'T' | b'U' | b'B' | b'C' | 0x8E | 0x96 => {
                let value = self.text(instruction)?;
                self.push(value)?;
            }
            b']' | b'}' | b')' | b'l' | b'd' | b't' | 0x85..=0x87 => self.container(instruction)?,
            b'a' | b'e' | b's' | b'u' => self.add(instruction)?,
            b'c' | 0x93 | b'R' | 0x81 | b'b' | b'Q' => self.object(instruction)?,
            other => {
                let what = format!("the pickle instruction {:?}", char::from(other));
                return Err(ImportError::Forbidden(what));
            }
        }
        Ok(None)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], ImportError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or_else(|| damaged("its pickle ends in the middle"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const SIZE: usize>(&mut self) -> Result<[u8; SIZE], ImportError> {
        let bytes = self.take(SIZE)?;
        bytes
            .first_chunk()
            .copied()
            .ok_or_else(|| damaged("its pickle ends in the middle"))
    }

    fn line(&mut self) -> Result<&'a str, ImportError> {
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let line = self.take(end.ok_or_else(|| damaged("its pickle ends in the middle"))?)?;
        self.take(1)?;
        str::from_utf8(line).map_err(|_| damaged("a name in its pickle is not text"))
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), ImportError> {
        if self.stack.len() >= STACK_MAX {
            return Err(ImportError::TooLarge(format!(
                "its pickle stacks more than {STACK_MAX} values"
            )));
        }
        self.stack.push(value);
        Ok(())
    }

    /// Takes the topmost value, but none from below the innermost open container.
    fn pop(&mut self) -> Result<Value<'a>, ImportError> {
        let value = self.top()?;
        self.stack.pop();
        Ok(value)
    }

    fn top(&self) -> Result<Value<'a>, ImportError> {
        let floor = self.marks.last().copied().unwrap_or_default();
        let above = self.stack.get(floor..).unwrap_or_default();
        above
            .last()
            .copied()
            .ok_or_else(|| damaged("its pickle takes a value where there is none"))
    }

    fn mark(&mut self) -> Result<(), ImportError> {
        if self.marks.len() >= MARKS_MAX {
            return Err(ImportError::TooLarge(
                "its pickle is nested too deeply".to_owned(),
            ));
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    /// Closes the innermost open container and takes what is in it.
    fn pop_mark(&mut self) -> Result<Vec<Value<'a>>, ImportError> {
        let mark = self
            .marks
            .pop()
            .ok_or_else(|| damaged("its pickle closes what it never opened"))?;
        // Never lower: nothing is taken from below a mark.
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    /// Gets from or puts into the memo.
    fn memo(&mut self, instruction: u8) -> Result<(), ImportError> {
        let short = matches!(instruction, b'h' | b'q');
        let key = match instruction {
            0x94 => u32::try_from(self.memo.len()).unwrap_or(u32::MAX),
            _ if short => u32::from(u8::from_le_bytes(self.array()?)),
            _ => u32::from_le_bytes(self.array()?),
        };
        if matches!(instruction, b'h' | b'j') {
            let value = self.memo.get(&key).copied();
            self.push(value.ok_or_else(|| damaged("its pickle refers to what was never there"))?)
        } else {
            let top = self.top()?;
            self.memo.insert(key, top);
            Ok(())
        }
    }

    fn number(&mut self, instruction: u8) -> Result<Value<'a>, ImportError> {
        Ok(match instruction {
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'K' => Value::Int(i64::from(u8::from_le_bytes(self.array()?))),
            b'M' => Value::Int(i64::from(u16::from_le_bytes(self.array()?))),
            b'J' => Value::Int(i64::from(i32::from_le_bytes(self.array()?))),
            b'G' => self.take(8).map(|_| Value::Other)?,
            0x8A | 0x8B => {
                let len = self.len(if instruction == 0x8A { 1 } else { 4 })?;
                long(self.take(len)?)
            }
            _ => Value::None,
        })
    }

    /// A length in so many bytes, at most eight.
    fn len(&mut self, size: usize) -> Result<usize, ImportError> {
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(self.take(size)?);
        // Longer than memory is longer than the file.
        Ok(usize::try_from(u64::from_le_bytes(bytes)).unwrap_or(usize::MAX))
    }

    fn text(&mut self, instruction: u8) -> Result<Value<'a>, ImportError> {
        let size = match instruction {
            0x8C | b'U' | b'C' => 1,
            0x8D | 0x8E | 0x96 => 8,
            _ => 4,
        };
        let len = self.len(size)?;
        let bytes = self.take(len)?;
        Ok(match instruction {
            b'X' | 0x8C | 0x8D => {
                Value::Text(str::from_utf8(bytes).map_err(|_| damaged("a text in its pickle is not UTF-8"))?)
            }
            // Python 2 had one kind for both.
            b'T' | b'U' => str::from_utf8(bytes).map_or(Value::Bytes(bytes), Value::Text),
            _ => Value::Bytes(bytes),
        })
    }

    fn container(&mut self, instruction: u8) -> Result<(), ImportError> {
        let value = match instruction {
            b']' => self.heap.list(Vec::new())?,
            b'}' => self.heap.dict()?,
            b')' => self.heap.tuple(Vec::new())?,
            b'l' => {
                let items = self.pop_mark()?;
                self.heap.list(items)?
            }
            b'd' => {
                let items = self.pop_mark()?;
                let dict = self.heap.dict()?;
                self.heap.set(dict, &items)?;
                dict
            }
            b't' => {
                let items = self.pop_mark()?;
                self.heap.tuple(items)?
            }
            _ => {
                let count = usize::from(instruction - 0x84);
                let mut items = vec![Value::None; count];
                for item in items.iter_mut().rev() {
                    *item = self.pop()?;
                }
                self.heap.tuple(items)?
            }
        };
        self.push(value)
    }

    /// Adds to the list or dictionary below.
    fn add(&mut self, instruction: u8) -> Result<(), ImportError> {
        let items = match instruction {
            b'a' => vec![self.pop()?],
            b's' => {
                let value = self.pop()?;
                vec![self.pop()?, value]
            }
            _ => self.pop_mark()?,
        };
        let target = self.top()?;
        match instruction {
            b'a' | b'e' => self.heap.append(target, &items),
            _ => self.heap.set(target, &items),
        }
    }

    /// Names, what is made by calling them, and what is kept outside the pickle.
    fn object(&mut self, instruction: u8) -> Result<(), ImportError> {
        let value = match instruction {
            b'c' => {
                let module = self.line()?;
                Value::Global(Global::find(module, self.line()?)?)
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(module), Value::Text(name)) = (module, name) else {
                    return Err(damaged("a name in its pickle is not text"));
                };
                Value::Global(Global::find(module, name)?)
            }
            b'Q' => {
                let id = self.pop()?;
                self.persistent(id)?
            }
            // Attributes: of an OrderedDict the versions of the modules, of others nothing either.
            b'b' => return self.pop().map(drop),
            _ => {
                let (arguments, called) = (self.pop()?, self.pop()?);
                let Value::Global(called) = called else {
                    return Err(ImportError::Forbidden(
                        "a call of something that it made itself".to_owned(),
                    ));
                };
                self.call(called, arguments)?
            }
        };
        self.push(value)
    }

    /// What such a call would give.
    fn call(&mut self, called: Global, arguments: Value<'a>) -> Result<Value<'a>, ImportError> {
        let arguments = self.heap.items(arguments);
        match (called, arguments) {
            (Global::OrderedDict, []) => self.heap.dict(),
            (Global::OrderedDict, [pairs]) => {
                // Python 2's: a list of lists of two.
                let pairs = *pairs;
                self.heap.hold(self.heap.items(pairs).len())?;
                let pairs = self.heap.items(pairs);
                let items: Vec<_> = pairs
                    .iter()
                    .flat_map(|pair| self.heap.items(*pair))
                    .copied()
                    .take(STACK_MAX)
                    .collect();
                let dict = self.heap.dict()?;
                self.heap.set(dict, &items)?;
                Ok(dict)
            }
            (Global::Tensor, [storage, offset, shape, strides, ..]) => {
                let Value::Storage(storage) = *storage else {
                    return Err(damaged("a tensor has no storage"));
                };
                let layout = Layout::new(whole(*offset)?, self.wholes(*shape)?, self.wholes(*strides)?)?;
                self.heap.tensor(StoredTensor { storage, layout })
            }
            (Global::Parameter | Global::Size, [value, ..]) => Ok(*value),
            (Global::Harmless, _) => Ok(Value::Other),
            _ => Err(damaged("its pickle makes a tensor of something else")),
        }
    }

    fn wholes(&self, list: Value<'a>) -> Result<Vec<usize>, ImportError> {
        let (Value::Tuple(_) | Value::List(_)) = list else {
            return Err(damaged("a tensor's shape is not a list"));
        };
        /// More than a tensor may have, so that too many are still seen.
        const AXES_READ: usize = 16;
        self.heap
            .items(list)
            .iter()
            .take(AXES_READ)
            .map(|value| whole(*value))
            .collect()
    }

    /// A storage, which is named by `('storage', kind, key, device, values)`, old ones with a part of another:
    /// `(key, first, values)`.
    fn persistent(&mut self, id: Value<'a>) -> Result<Value<'a>, ImportError> {
        let id = self.heap.items(id);
        let [
            Value::Text("storage"),
            Value::Global(Global::Storage(number)),
            Value::Text(key),
            _,
            len,
            ..,
        ] = *id
        else {
            let kind = match id {
                [Value::Text(kind), ..] => plain(kind),
                _ => "an object".to_owned(),
            };
            return Err(ImportError::Forbidden(format!("{kind} from outside of it")));
        };
        if key.len() > KEY_MAX {
            return Err(damaged("a storage has a name that PyTorch does not give"));
        }
        let view = id.get(5).map(|view| self.heap.items(*view)).unwrap_or_default();
        let (first, len) = match view {
            [_, first, len, ..] => (whole(*first)?, whole(*len)?),
            _ => (0, whole(len)?),
        };
        self.heap.storage(Storage {
            key,
            number,
            first,
            len,
        })
    }
}

/// A whole number of two's complement, little-endian.
fn long(bytes: &[u8]) -> Value<'_> {
    let Some(last) = bytes.last() else {
        return Value::Int(0);
    };
    let filler = if *last >= 0x80 { 0xFF } else { 0 };
    let mut all = [filler; 8];
    match all.get_mut(..bytes.len()) {
        Some(low) => {
            low.copy_from_slice(bytes);
            Value::Int(i64::from_le_bytes(all))
        }
        None => Value::Long(bytes),
    }
}

fn whole(value: Value<'_>) -> Result<usize, ImportError> {
    match value {
        Value::Int(value) => usize::try_from(value).map_err(|_| damaged("a tensor's size is negative")),
        _ => Err(damaged("a tensor's size is not a number")),
    }
}
