//! The reader of `.pth` files against files that PyTorch wrote (by `scripts/make-test-weights.py`) and files as strangers
//! may write them.

use super::*;

/// A file that PyTorch wrote.
macro_rules! file {
    ($name:literal) => {
        (
            $name,
            include_bytes!(concat!("../../../tests/fixtures/models/pth-", $name, ".pth")).as_slice(),
        )
    };
}

/// All hold the same tensors.
const SAME: [(&str, &[u8]); 13] = [
    file!("zip"),
    file!("legacy"),
    file!("protocol4"),
    file!("module"),
    file!("half"),
    file!("bfloat"),
    file!("double"),
    file!("shared"),
    file!("shared-legacy"),
    file!("parameters"),
    file!("checkpoint"),
    file!("checkpoint-legacy"),
    file!("nested"),
];

/// More than tensors.
const CODE: [(&str, &[u8]); 2] = [file!("code"), file!("script")];

fn error(bytes: &[u8]) -> String {
    read(bytes).unwrap_err().to_string()
}

/// Whatever a file is, it is read or refused with a short line.
fn is_read_or_refused(bytes: &[u8]) {
    if let Err(error) = read(bytes) {
        let line = error.to_string();
        assert!(
            line.chars().count() < 400 && !line.chars().any(char::is_control),
            "{line:?}"
        );
    }
}

/// Real-CUGAN's "pro" nets say so beside their tensors, and are computed otherwise; other numbers say nothing.
#[test]
fn a_flag_that_tells_networks_apart_is_kept() {
    let (_, bytes) = file!("flag");
    let weights = read(bytes).unwrap();
    assert_eq!(
        weights.names().collect::<Vec<_>>(),
        ["a.bias", "a.weight", "n", "pro"]
    );
}

/// Every precision, protocol, wrapper and layout, also transposed views of one shared storage.
#[test]
fn what_pytorch_writes_is_read() {
    for (name, bytes) in SAME {
        let weights = read(bytes).unwrap();
        assert_eq!(
            weights.names().collect::<Vec<_>>(),
            ["a.bias", "a.weight", "n"],
            "{name}"
        );
        let tensor = |name| weights.get(name).unwrap();
        assert_eq!(tensor("a.weight").shape(), [2, 3, 1, 1], "{name}");
        assert_eq!(
            tensor("a.weight").values(),
            [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0],
            "{name}"
        );
        assert_eq!(tensor("a.bias").values(), [0.5, -1.25], "{name}");
        assert_eq!(tensor("n"), &Tensor::new(vec![], vec![7.0]), "{name}");
    }
}

#[test]
fn code_is_refused_by_its_name() {
    let [(_, module), (_, script)] = CODE;
    assert!(
        error(module).contains("asks for torch.nn.modules.activation.PReLU, which"),
        "{}",
        error(module)
    );
    assert!(error(script).contains("TorchScript"), "{}", error(script));
}

#[test]
fn what_is_no_pth_is_told_apart() {
    assert!(error(b"").contains("empty"));
    assert!(error(b" \n<!DOCTYPE html>").contains("web page"));
    assert!(error(b"version https://git-lfs.github.com/spec/v1").contains("git lfs pull"));
    assert!(error(b"7767517\n").contains("torch.save"));
    assert!(error(b"\x80\x04}\x94.").contains("a pickle, but none that torch.save has written"));
    assert!(error(&zip(&[("other", b"")])).contains("an archive, but none"));
    assert!(error(&archive(b"\x80\x02}.")).contains("no tensors by name"));
    let big = zip(&[("a/data.pkl", b"}."), ("a/byteorder", b"big")]);
    assert!(error(&big).contains("big-endian"));
}

/// A download that broke off is never half a network.
#[test]
fn a_truncated_file_is_refused_wherever_it_ends() {
    for (name, bytes) in SAME {
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_err(), "{name} up to {end}");
        }
    }
}

/// Of one file of each format every bit, of the others some of each byte.
#[test]
fn no_changed_byte_does_harm() {
    for (name, bytes) in SAME.into_iter().chain(CODE) {
        let every = matches!(name, "zip" | "checkpoint-legacy");
        let bits: &[u8] = if every {
            &[1, 2, 4, 8, 16, 32, 64, 128, 255]
        } else {
            &[1, 128]
        };
        let mut changed = bytes.to_vec();
        for at in 0..bytes.len() {
            for bit in bits {
                changed[at] = bytes[at] ^ bit;
                is_read_or_refused(&changed);
            }
            changed[at] = bytes[at];
        }
    }
}

/// A zip archive of stored entries.
fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in entries {
        let at = u32::try_from(file.len()).unwrap();
        let size = u32::try_from(data.len()).unwrap().to_le_bytes();
        let name_len = u16::try_from(name.len()).unwrap().to_le_bytes();
        let common = [&[0; 16][..], &size, &size, &name_len, &[0; 2]].concat();
        // Version, flags, method, time and checksum are zeros, of which the local header has 14.
        file.extend([b"PK\x03\x04", &common[2..], name.as_bytes(), data].concat());
        directory.extend(
            [
                b"PK\x01\x02",
                &common[..],
                &[0; 10],
                &at.to_le_bytes(),
                name.as_bytes(),
            ]
            .concat(),
        );
    }
    let count = u16::try_from(entries.len()).unwrap().to_le_bytes();
    let [at, size] = [file.len(), directory.len()].map(|len| u32::try_from(len).unwrap().to_le_bytes());
    file.extend(directory);
    file.extend([b"PK\x05\x06", &[0; 4][..], &count, &count, &size, &at, &[0; 2]].concat());
    file
}

/// A file of this pickle and a storage of four values.
fn archive(pickle: &[u8]) -> Vec<u8> {
    zip(&[("x/data.pkl", pickle), ("x/data/0", &[0; 16])])
}

fn text(text: &str) -> Vec<u8> {
    [
        b"X",
        &u32::try_from(text.len()).unwrap().to_le_bytes()[..],
        text.as_bytes(),
    ]
    .concat()
}

fn ints(values: &[i64]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| [b"\x8A\x08", &value.to_le_bytes()[..]].concat())
        .collect()
}

/// A file of one tensor of this name.
fn tensor(name: &str, offset: i64, shape: &[i64], strides: &[i64], storage_len: i64) -> Vec<u8> {
    let storage = [
        &text("storage"),
        &b"ctorch\nFloatStorage\n"[..],
        &text("0"),
        &text("cpu"),
    ]
    .concat();
    let tensor = [
        b"ctorch._utils\n_rebuild_tensor_v2\n((",
        &storage[..],
        &ints(&[storage_len]),
        b"tQ",
        &ints(&[offset]),
        b"(",
        &ints(shape),
        b"t(",
        &ints(strides),
        b"t\x89Nt",
    ]
    .concat();
    archive(&[b"\x80\x02}", &text(name)[..], &tensor, b"Rs."].concat())
}

#[test]
fn the_helper_writes_what_is_read() {
    let weights = read(&tensor("a", 1, &[3], &[1], 4)).unwrap();
    assert_eq!(weights.shape("a"), Some(&[3][..]));
    // Expanded: one value for all.
    assert_eq!(
        read(&tensor("a", 3, &[500], &[0], 4)).unwrap().shape("a"),
        Some(&[500][..])
    );
}

#[test]
fn sizes_beyond_the_storage_or_all_bounds_are_refused() {
    let most = i64::MAX;
    let missing = [
        tensor("a", 2, &[3], &[1], 4),
        tensor("a", 0, &[5], &[1], 5),
        tensor("a", 0, &[2, 2], &[3, 1], 4),
        tensor("a", most, &[2], &[1], 4),
        tensor("a", 0, &[3], &[most], 4),
        tensor("a", 0, &[4], &[1], most),
        tensor("a", most, &[0], &[1], 4),
    ];
    for (index, file) in missing.iter().enumerate() {
        let refused = read(file).err();
        let fits = matches!(refused, Some(ImportError::Damaged(_))) || index == 6;
        assert!(fits, "{index}: {refused:?}");
    }
    let large = [
        tensor("a", 0, &[most], &[1], 4),
        tensor("a", 0, &[most, most], &[0, 0], 4),
        tensor("a", 0, &[most, 0], &[0, 0], 4),
        tensor("a", 0, &[1 << 20], &[0], 4),
        tensor("a", 0, &[1; 9], &[1; 9], 4),
    ];
    for (index, file) in large.iter().enumerate() {
        assert!(
            matches!(read(file), Err(ImportError::TooLarge(_))),
            "{index}: {:?}",
            read(file)
        );
    }
    assert!(error(&tensor("a", -1, &[1], &[1], 4)).contains("negative"));
    assert!(error(&tensor("a", 0, &[1], &[-1], 4)).contains("negative"));
    assert!(error(&tensor("a", 0, &[1, 1], &[1], 4)).contains("strides"));
}

#[test]
fn a_name_that_no_message_could_tell_is_refused() {
    assert!(error(&tensor("a\nb", 0, &[1], &[1], 4)).contains("called a?b"));
    is_read_or_refused(&tensor(&"long".repeat(1000), 0, &[1], &[1], 4));
}

/// The classic attack, in both formats and by both instructions that name things.
#[test]
fn commands_are_refused_by_name_and_not_run() {
    let pickles: [(&[u8], &str); 6] = [
        (b"cos\nsystem\n(X\x02\0\0\0lstR.", "os.system"),
        (b"cposix\nsystem\n.", "posix.system"),
        (
            b"\x80\x04\x8C\x08builtins\x8C\x04eval\x93\x8C\x011\x85R.",
            "builtins.eval",
        ),
        (b"c__builtin__\ngetattr\n.", "__builtin__.getattr"),
        (
            b"ctorch.storage\n_load_from_bytes\n.",
            "torch.storage._load_from_bytes",
        ),
        (b"(ios\nsystem\n.", "the pickle instruction 'i'"),
    ];
    for (pickle, name) in pickles {
        for file in [archive(pickle), [b"\x80\x02", pickle].concat()] {
            let refused = read(&file).unwrap_err();
            assert!(matches!(&refused, ImportError::Forbidden(_)), "{name}: {refused}");
            assert!(refused.to_string().contains(name), "{refused}");
        }
    }
}

#[test]
fn only_the_table_is_called() {
    assert!(error(&archive(b"})R.")).contains("call of something"));
    assert!(error(&archive(b"ctorch\nFloatStorage\n)R.")).contains("damaged"));
    assert!(error(&archive(b"X\x06\0\0\0moduleNN\x87Q.")).contains("module from outside"));
}

/// Each of sixty tuples holds the one before twice: 2⁶⁰ values when walked.
#[test]
fn a_tuple_that_doubles_itself_is_not_walked() {
    let doubling = b"2\x86".repeat(60);
    is_read_or_refused(&archive(&[b")", &doubling[..], b"."].concat()));
    // As keys, as a tensor's shape and as pairs of a dictionary, too.
    is_read_or_refused(&archive(&[b"})", &doubling[..], b"Ns."].concat()));
    is_read_or_refused(&archive(
        &[b"ccollections\nOrderedDict\n)", &doubling[..], b"\x85R."].concat(),
    ));
}

#[test]
fn what_is_nested_deeply_does_not_overflow_the_stack() {
    let deep = [b"N", &b"\x85".repeat(1_000_000)[..], b"."].concat();
    is_read_or_refused(&archive(&deep));
    assert!(error(&archive(&b"(".repeat(2000))).contains("nested"));
    let dicts = text("params")
        .into_iter()
        .chain(*b"}")
        .collect::<Vec<_>>()
        .repeat(100_000);
    is_read_or_refused(&archive(
        &[b"}", &dicts[..], &b"s".repeat(100_000), b"."].concat(),
    ));
    // A dictionary that holds itself.
    let own = [b"}q\0", &text("params")[..], b"h\0s."].concat();
    assert!(error(&archive(&own)).contains("no tensors"));
}

#[test]
fn instructions_and_memory_are_bounded() {
    let refused = |pickle: Vec<u8>| read(&archive(&pickle)).unwrap_err();
    let bounded = |pickle| matches!(refused(pickle), ImportError::TooLarge(_));
    assert!(bounded(b"N0".repeat(1 << 20)));
    assert!(bounded(b"N".repeat(1 << 17)));
    assert!(bounded(b"]0".repeat(1 << 20)));
    // A list that is copied again and again: an OrderedDict of the same pairs.
    let pairs = [b"](", &b"NN\x86".repeat(1000)[..], b"eq\x010"].concat();
    let copies = b"ccollections\nOrderedDict\nh\x01\x85R0".repeat(2000);
    assert!(bounded([pairs, copies].concat()));
    // The same, of pairs that are none: nothing is copied, but all are walked.
    let pairs = [b"](", &b")".repeat(60_000)[..], b"eq\x010"].concat();
    assert!(bounded(
        [pairs, b"ccollections\nOrderedDict\nh\x01\x85R0".repeat(2000)].concat()
    ));
    // Lengths that are not there.
    for long in [
        &b"\x8B\xFF\xFF\xFF\xFF"[..],
        b"\x8D\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
        b"X\xFF\xFF\xFF\x7F",
        b"cos",
    ] {
        assert!(matches!(refused(long.to_vec()), ImportError::Damaged(_)));
    }
    // A number of a million digits costs nothing.
    let long = [b"}X\x01\0\0\0n\x8B\0\0\x10\0", &vec![0x11; 1 << 20][..], b"s."].concat();
    assert!(refused(long).to_string().contains("no tensors"));
}

#[test]
fn archives_that_lie_are_refused() {
    let honest = tensor("a", 0, &[4], &[1], 4);
    // Compressed entries could unpack to anything; encrypted ones to nothing.
    let entry = honest
        .windows(4)
        .position(|window| window == b"PK\x01\x02")
        .unwrap();
    for (field, value) in [(8, 1), (10, 8)] {
        let mut file = honest.clone();
        file[entry + field] = value;
        assert!(
            error(&file).contains("compressed or encrypted"),
            "{}",
            error(&file)
        );
    }
    let mut sizes = honest.clone();
    sizes[entry + 20..entry + 28].fill(0xFE);
    assert!(error(&sizes).contains("outside of it"), "{}", error(&sizes));
    // All sizes told elsewhere, where nothing is.
    let mut large = honest.clone();
    large[entry + 20..entry + 28].fill(0xFF);
    assert!(error(&large).contains("directory is broken"));
    let end = honest.len() - 22;
    let mut many = honest.clone();
    many[end + 8..end + 12].fill(0xFE);
    assert!(read(&many).is_err());
    // Names that lead elsewhere lead nowhere: nothing is unpacked.
    is_read_or_refused(&zip(&[("../../data.pkl", b"}."), ("/etc/passwd", b"")]));
}
