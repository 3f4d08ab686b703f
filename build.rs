//! Tells cargo what it cannot see: the migrations, which are compiled in.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
