//! The desk's program.

fn main() {
    quorate_web::desk();
}
