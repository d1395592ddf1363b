//! The chat's program.

fn main() {
    quorate_web::chat();
}
