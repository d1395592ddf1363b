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
    Smile,
    Reply,
    More,
    Pin,
    Bookmark,
    At,
    Star,
    Mute,
    Later,
    Shield,
    Globe,
    Clip,
    Retry,
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
            Icon::Smile => {
                "M12 20.5a8.5 8.5 0 1 0 0-17 8.5 8.5 0 0 0 0 17zM8.5 14a4.2 4.2 0 0 0 7 0M9 9.6v.2M15 9.6v.2"
            }
            Icon::Reply => "M9.5 6L4 11.5 9.5 17M4 11.5h10a6 6 0 0 1 6 6v.5",
            Icon::More => "M5.5 12v.1M12 12v.1M18.5 12v.1",
            Icon::Pin => "M9 4h6l-1 6 3.5 3.5h-11L10 10zM12 13.5V20",
            Icon::Bookmark => "M7 4h10v16l-5-4-5 4z",
            Icon::At => {
                "M12 15.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM15.5 8.5v5a2.5 2.5 0 0 0 5 0V12a8.5 8.5 0 1 0-3.4 6.8"
            }
            Icon::Star => "M12 4l2.5 5.2 5.5.8-4 4 1 5.700-5-2.700-5 2.700 1-5.700-4-4 5.500-.8z",
            Icon::Mute => "M5 10v4h3l4 4V6L8 10zM16 10l4 4M20 10l-4 4",
            Icon::Later => "M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16zM12 8v4.300l2.600 1.700M19 19l2 2",
            Icon::Shield => "M12 3.500l7 2.500v5.500c0 4.200-2.800 7.300-7 9-4.200-1.700-7-4.800-7-9V6z",
            Icon::Globe => {
                "M12 20.500a8.500 8.500 0 1 0 0-17 8.500 8.500 0 0 0 0 17zM3.500 12h17M12 3.500c2.500 2.500 3.500 5.300 3.500 8.500s-1 6-3.500 8.500c-2.500-2.500-3.500-5.300-3.500-8.500s1-6 3.500-8.500z"
            }
            Icon::Clip => {
                "M19.500 11.500l-7.700 7.700a4.900 4.900 0 0 1-7-7l8-8a3.300 3.300 0 0 1 4.600 4.600l-7.800 7.800a1.600 1.600 0 0 1-2.300-2.300l7-7"
            }
            Icon::Retry => "M19 12a7 7 0 1 1-2.200-5.100M19 4.500v4h-4",
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
