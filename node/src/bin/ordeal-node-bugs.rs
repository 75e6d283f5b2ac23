//! The node with its historic bugs built in: `ordeal-node-bugs serve --bug NAME`.
fn main() {}
