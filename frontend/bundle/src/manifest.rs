//! What a browser reads to install the page: its name, its colours, its icons.

use crate::icon::png;

/// The icons: width in pixels, and whether the system may cut a shape of its own out of it.
const ICONS: [(u16, bool); 3] = [(192, false), (512, false), (512, true)];

/// The pictures under the names of their assets.
///
/// # Errors
/// When a picture cannot be squeezed.
pub(crate) fn icons() -> std::io::Result<Vec<(&'static str, Vec<u8>)>> {
    ICONS.iter().map(|&(side, maskable)| Ok((name_of(side, maskable), png(side, maskable)?))).collect()
}

fn name_of(side: u16, maskable: bool) -> &'static str {
    match (side, maskable) {
        (192, _) => "icon-192",
        (_, false) => "icon-512",
        (_, true) => "icon-maskable",
    }
}

/// The manifest; `addresses` of [`icons`], in their order.
pub(crate) fn text(addresses: &[String]) -> String {
    let icons: Vec<String> = ICONS
        .iter()
        .zip(addresses)
        .map(|((side, maskable), address)| {
            let purpose = if *maskable { "maskable" } else { "any" };
            format!(
                "{{\"src\": \"{address}\", \"sizes\": \"{side}x{side}\", \"type\": \"image/png\", \"purpose\": \"{purpose}\"}}"
            )
        })
        .collect();
    format!(
        "{{\n\"id\": \"/\",\n\"name\": \"Quorate\",\n\"short_name\": \"Quorate\",\n\
         \"description\": \"A chat that stays up as long as a majority does.\",\n\
         \"start_url\": \"/\",\n\"scope\": \"/\",\n\"display\": \"standalone\",\n\
         \"background_color\": \"#f4f3ef\",\n\"theme_color\": \"#1d6b66\",\n\"icons\": [\n{}\n]\n}}\n",
        icons.join(",\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_each_icon_once() {
        let icons = icons().expect("pictures");
        let addresses: Vec<String> = icons.iter().map(|(name, _)| format!("/assets/{name}-0.png")).collect();
        let text = text(&addresses);
        for address in &addresses {
            assert_eq!(text.matches(address.as_str()).count(), 1, "{address}");
        }
        assert_eq!(text.matches("\"purpose\": \"maskable\"").count(), 1);
        let (open, close) = (text.matches('{').count(), text.matches('}').count());
        assert_eq!((open, close), (ICONS.len() + 1, ICONS.len() + 1));
    }
}
