//! The full screen: keys and news in, cells out. Owns the terminal while it runs and gives it back on every way out.

mod app;
mod terminal;

use std::time::Duration;

use crossterm::event::{Event, EventStream};
use futures_util::StreamExt;
use tokio::time::Instant;

use crate::driver::Driver;
use crate::ending::Ending;
use crate::failure::Result;
use app::App;
use terminal::Screen;

/// It is drawn at most this often: more nobody sees, and a paste that comes as keys is drawn as one.
const FRAME: Duration = Duration::from_millis(20);

/// Runs until the person leaves, or `ending` says so: the exit code.
///
/// # Errors
/// When the terminal cannot be used.
pub async fn run(driver: &mut Driver, ending: &mut Ending, name: Option<&str>) -> Result<u8> {
    let mut screen = Screen::open()?;
    let mut keys = EventStream::new();
    let mut app = App::new(driver, name);
    app.driver.resume();
    let mut draw_at = Some(Instant::now());
    // When it may be drawn again.
    let mut rested_at = Instant::now();
    loop {
        if draw_at.is_some_and(|at| at <= Instant::now()) {
            screen.draw(&mut app)?;
            rested_at = Instant::now() + FRAME;
            draw_at = app.after_drawing().then_some(rested_at);
        }
        let soon = draw_at.unwrap_or_else(|| Instant::now() + Duration::from_secs(3_600));
        tokio::select! {
            biased;
            code = ending.wait() => return Ok(code),
            event = keys.next() => match event {
                Some(Ok(event)) => {
                    if app.happened(&event) {
                        return Ok(0);
                    }
                    if matches!(event, Event::Resize(..)) {
                        screen.forget();
                    }
                    draw_at.get_or_insert(rested_at);
                }
                // The terminal is gone: nobody is there to be told.
                Some(Err(_)) | None => return Ok(Ending::HUNG_UP),
            },
            () = tokio::time::sleep_until(app.resume_at.unwrap_or(soon)), if app.resume_at.is_some() => {
                app.resume_at = None;
                app.driver.resume();
            }
            news = app.driver.next() => {
                app.heard(news);
                draw_at.get_or_insert(rested_at);
            }
            () = tokio::time::sleep_until(soon), if draw_at.is_some() => {}
        }
    }
}
