//! One WebSocket with its handlers. Dropping it takes the handlers off and closes it.

use leptos::prelude::window;
use quorate_client::proto::SUBPROTOCOL;
use quorate_client::{Input, SocketId};
use wasm_bindgen::prelude::*;
use web_sys::{CloseEvent, MessageEvent, WebSocket};

use super::{forget_socket, input};
use crate::context::App;

pub(super) struct Socket {
    socket: WebSocket,
    _opened: Closure<dyn FnMut()>,
    _text: Closure<dyn FnMut(MessageEvent)>,
    _closed: Closure<dyn FnMut(CloseEvent)>,
}

/// Opens a socket to the page's own origin.
pub(super) fn open(app: App, id: SocketId) -> Result<Socket, JsValue> {
    let location = window().location();
    let scheme = if location.protocol()? == "https:" { "wss" } else { "ws" };
    let socket = WebSocket::new_with_str(&format!("{scheme}://{}/ws", location.host()?), SUBPROTOCOL)?;
    let opened = Closure::<dyn FnMut()>::new(move || {
        input(app, Input::Opened(id));
    });
    let text = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
        if let Some(text) = event.data().as_string() {
            input(app, Input::Text(id, text));
        }
    });
    let closed = Closure::<dyn FnMut(CloseEvent)>::new(move |event: CloseEvent| {
        forget_socket(app, id);
        input(app, Input::Closed(id, event.code()));
    });
    socket.set_onopen(Some(opened.as_ref().unchecked_ref()));
    socket.set_onmessage(Some(text.as_ref().unchecked_ref()));
    socket.set_onclose(Some(closed.as_ref().unchecked_ref()));
    Ok(Socket { socket, _opened: opened, _text: text, _closed: closed })
}

impl Socket {
    /// Sends one text message. A socket that is not open any more says so by its close event; the rules send again.
    pub(super) fn send(&self, text: &str) {
        let _ = self.socket.send_with_str(text);
    }

    pub(super) fn close(&self, code: u16) {
        self.silence();
        let _ = self.socket.close_with_code(code);
    }

    fn silence(&self) {
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.silence();
        let _ = self.socket.close();
    }
}
