//! How clients speak to us: each client API parses its requests into ours and writes our chunks in its own form.

pub mod openai_chat;
