//! Icons as inline SVG: 24 by 24, drawn with the text's colour. All are decoration; the button has the words.

use leptos::prelude::*;

/// Strokes of an icon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Icon {
    Plus,
    Search,
    Back,
    Close,
    Info,
    Send,
    Clock,
    Check,
    Checks,
    Alert,
    Down,
    Sun,
    Moon,
    System,
    Leave,
    Person,
}

impl Icon {
    fn path(self) -> &'static str {
        match self {
            Icon::Plus => "M12 5v14M5 12h14",
            Icon::Search => "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM20 20l-4-4",
            Icon::Back => "M15 5l-7 7 7 7",
            Icon::Close => "M6 6l12 12M18 6L6 18",
            Icon::Info => "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 11v5M12 7.6v.3",
            Icon::Send => "M5 12h13M12 5.5l6.5 6.5-6.5 6.5",
            Icon::Clock => "M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16zM12 8v4.3l2.6 1.7",
            Icon::Check => "M5 12.5l4.5 4.5L19 7.5",
            Icon::Checks => "M2 12.5l4.5 4.5L16 7.5M11.5 16l1 1L22 7.5",
            Icon::Alert => "M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16zM12 8v4.5M12 15.8v.2",
            Icon::Down => "M12 5v13M6 12.5l6 6 6-6",
            Icon::Sun => {
                "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM12 3v1.5M12 19.5V21M3 12h1.5M19.5 12H21M5.6 5.6l1.1 1.1M17.3 17.3l1.1 1.1M5.6 18.4l1.1-1.1M17.3 6.7l1.1-1.1"
            }
            Icon::Moon => "M19.5 14.2A8 8 0 0 1 9.8 4.5a8 8 0 1 0 9.7 9.7z",
            Icon::System => "M4 5h16v11H4zM9 20h6M12 16v4",
            Icon::Person => "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4.5 20a7.5 7.5 0 0 1 15 0",
            Icon::Leave => "M10 5H5v14h5M14 8l4 4-4 4M18 12H9.5",
        }
    }
}

/// An icon of this size in pixels.
#[component]
pub(crate) fn Glyph(icon: Icon, #[prop(default = 20)] size: u32) -> impl IntoView {
    view! {
        <svg
            width=size.to_string()
            height=size.to_string()
            viewBox="0 0 24 24"
            fill="none"
            stroke="currentColor"
            stroke-width="1.8"
            stroke-linecap="round"
            stroke-linejoin="round"
            aria-hidden="true"
        >
            <path d=icon.path()></path>
        </svg>
    }
}

/// Five replicas, three of them enough.
#[component]
pub(crate) fn Mark(#[prop(default = 22)] size: u32) -> impl IntoView {
    view! {
        <svg
            width=size.to_string()
            height=size.to_string()
            viewBox="0 0 32 32"
            fill="currentColor"
            aria-hidden="true"
        >
            <circle cx="16" cy="5.5" r="4.2"></circle>
            <circle cx="27" cy="13.5" r="4.2"></circle>
            <circle cx="22.8" cy="26.4" r="4.2"></circle>
            <circle cx="9.2" cy="26.4" r="4.2" fill-opacity="0.38"></circle>
            <circle cx="5" cy="13.5" r="4.2" fill-opacity="0.38"></circle>
        </svg>
    }
}
