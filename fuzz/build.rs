//! The random calls, which are in C.

fn main() -> std::io::Result<()> {
    const FOLDER: &str = "../tests/c/random";
    println!("cargo::rerun-if-changed={FOLDER}");
    println!("cargo::rerun-if-changed=../include/hostlane.h");
    let entries = std::fs::read_dir(FOLDER)?.map(|entry| Ok(entry?.path()));
    let mut files = entries.collect::<std::io::Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "c"));
    files.sort();
    cc::Build::new()
        .files(files)
        .include("../include")
        .std("c11")
        .define("_GNU_SOURCE", None)
        .warnings_into_errors(true)
        .compile("random_calls");
    Ok(())
}
