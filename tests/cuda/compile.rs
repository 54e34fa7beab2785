//! Are the kernels CUDA? NVRTC compiles them for two architectures, where it is there.

use std::collections::BTreeMap;
use std::fs;
use steerage::device::cuda::{Compiler, KERNELS, Nvidia, Source};

fn compiler(architecture: &str, folder: Option<&std::path::Path>) -> Option<Compiler> {
    match Compiler::new(architecture, folder) {
        Ok(compiler) => Some(compiler),
        Err(why) => {
            assert!(std::env::var_os("REQUIRE_NVRTC").is_none(), "{why}");
            println!("skipped: {why}");
            None
        }
    }
}

/// `kernel: registers and spills`, of a compiler's log.
fn used(log: &str) -> BTreeMap<String, (u32, u32)> {
    let number = |text: &str| text.trim().split(' ').next().and_then(|n| n.parse().ok());
    let (mut found, mut name, mut spills) = (BTreeMap::new(), String::new(), 0);
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("entry function '") {
            name = rest.split('\'').next().unwrap().to_owned();
        } else if let Some((before, _)) = line.split_once("bytes spill stores") {
            spills = number(before.split(", ").last().unwrap()).unwrap();
        } else if let Some((_, rest)) = line.split_once("Used ") {
            found.insert(name.clone(), (number(rest).unwrap(), spills));
        }
    }
    found
}

/// Each kernel's registers and spills.
fn compiled(architecture: &str) -> Option<BTreeMap<String, (u32, u32)>> {
    let compiler = compiler(architecture, None)?;
    let mut sources: Vec<Source> = KERNELS.iter().map(|kernel| kernel.source).collect();
    sources.dedup();
    let mut all = BTreeMap::new();
    for source in sources {
        let compiled = compiler.compile(source).unwrap();
        assert!(compiled.cubin.starts_with(b"\x7fELF"));
        // What the compiler says when it makes products of groups of warps wait for each other.
        assert!(!compiled.log.contains("(C75"), "{}", compiled.log);
        all.extend(used(&compiled.log));
    }
    Some(all)
}

#[test]
fn every_kernel_compiles_and_keeps_its_numbers_in_registers() {
    for architecture in ["sm_80", "sm_90a"] {
        let Some(found) = compiled(architecture) else { return };
        for kernel in KERNELS {
            let (registers, spills) = found[kernel.name];
            println!("{architecture} {}: {registers} registers", kernel.name);
            assert_eq!(spills, 0, "{}", kernel.name);
        }
        assert_eq!(found.len(), KERNELS.len(), "a kernel is not in the list");
    }
}

#[test]
fn a_wrong_source_is_refused_with_the_compilers_words_and_a_right_one_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let Some(compiler) = compiler("sm_80", Some(folder.path())) else { return };
    let wrong = Source { file: "x.cu", text: "#include \"common.cuh\"\nKERNEL(32) x() { y; }" };
    let said = compiler.compile(wrong).unwrap_err().to_string();
    assert!(said.contains("x.cu(2)") && said.contains("\"y\" is undefined"), "{said}");
    let right = Source { file: "x.cu", text: "#include \"common.cuh\"\nKERNEL(32) x() {}" };
    let first = compiler.compile(right).unwrap();
    let again = compiler.compile(right).unwrap();
    assert!(first.log.contains("Used") && again.log.is_empty() && first.cubin == again.cubin);
    let other = Source { file: "x.cu", text: "#include \"common.cuh\"\nKERNEL(64) x() {}" };
    assert!(compiler.compile(other).unwrap().log.contains("Used"));
    // What is damaged is compiled again, and so is what cannot be kept.
    let files = || fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
    assert_eq!(files().count(), 2);
    for damage in [|whole: Vec<u8>| whole[..whole.len() - 1].to_vec(), |_| Vec::new()] {
        files().for_each(|file| fs::write(&file, damage(fs::read(&file).unwrap())).unwrap());
        let mended = compiler.compile(right).unwrap();
        assert!(mended.log.contains("Used") && mended.cubin == first.cubin);
        assert!(compiler.compile(right).unwrap().log.is_empty());
    }
    let taken = folder.path().join("taken");
    fs::write(&taken, "").unwrap();
    let nowhere = self::compiler("sm_80", Some(&taken)).unwrap();
    assert_eq!(nowhere.compile(right).unwrap().cubin, first.cubin);
}

#[test]
fn a_device_that_is_not_there_is_refused() {
    // There are not so many.
    let said = Nvidia::open(9999, None).err().unwrap().to_string();
    assert!(said.starts_with("cuda") && said.contains("9999"), "{said}");
}
