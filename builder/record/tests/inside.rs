//! The process that becomes the sandbox.

fn main() {
    builder_sandbox::enter();
}
