//! A small server that judges, and misbehaves as it is told.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The key that the server wants.
pub const KEY: &str = "sk-very-secret-0123456789";

/// How the server takes a prompt.
#[derive(Clone, Debug)]
pub enum Mood {
    /// With a good answer.
    Good,
    /// With a good answer, after so many milliseconds.
    Slow(u64),
    /// With a status, and seconds after which to come again.
    Status(u16, Option<&'static str>),
    /// With half a body.
    Truncated,
    /// With a body that is no JSON.
    Broken,
    /// With an answer of these words.
    Says(String),
    /// With an answer about items that nobody asked about.
    WrongIds,
    /// With an answer that leaves out the last item.
    MissingIds,
    /// By hanging up.
    Reset,
    /// With an answer of so many bytes.
    Long(usize),
}

/// What was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The first thing the user said: the prompt.
    pub prompt: String,
    /// Its items' lines.
    pub items: Vec<String>,
    /// How many turns the conversation has.
    pub turns: usize,
    /// What it was told of the answer's form.
    pub format: serde_json::Value,
}

#[derive(Default)]
struct Book {
    asked: usize,
    /// Good answers, by prompt.
    good: BTreeMap<String, usize>,
    /// What callers called themselves.
    keys: Vec<String>,
}

/// The server. It ends with the process.
pub struct Server {
    /// What jobs call it.
    pub base_url: String,
    book: Arc<Mutex<Book>>,
}

type Moods = Arc<dyn Fn(usize, &Asked) -> Mood + Send + Sync>;

impl Server {
    /// A server in a mood that depends on how much was asked before, and on what is asked.
    pub fn start(mood: impl Fn(usize, &Asked) -> Mood + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let book = Arc::new(Mutex::new(Book::default()));
        let mood: Moods = Arc::new(mood);
        let server = Server { base_url, book: Arc::clone(&book) };
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (book, mood) = (Arc::clone(&book), Arc::clone(&mood));
                std::thread::spawn(move || {
                    // Who hangs up is the caller's affair.
                    let _ = serve(&stream, &book, &mood);
                });
            }
        });
        server
    }

    /// How often each prompt was answered well.
    pub fn good(&self) -> BTreeMap<String, usize> {
        self.book.lock().unwrap().good.clone()
    }

    /// Good answers.
    pub fn paid(&self) -> usize {
        self.good().values().sum()
    }

    /// Everything that was asked.
    pub fn asked(&self) -> usize {
        self.book.lock().unwrap().asked
    }

    /// What callers called themselves, each once.
    pub fn keys(&self) -> Vec<String> {
        let mut keys = self.book.lock().unwrap().keys.clone();
        keys.sort();
        keys.dedup();
        keys
    }
}

fn serve(stream: &TcpStream, book: &Mutex<Book>, mood: &Moods) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut length, mut key, mut line) = (0, String::new(), String::new());
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        assert!(line.starts_with("POST /v1/chat/completions "), "{line}");
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim().split_once(':') else { break };
            match name.to_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap(),
                "authorization" => key = value.trim().to_owned(),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let asked = parse(&body);
        let mood = {
            let mut book = book.lock().unwrap();
            book.asked += 1;
            book.keys.push(key.clone());
            mood(book.asked - 1, &asked)
        };
        if key != format!("Bearer {KEY}") {
            let error = format!("{{\"error\":\"incorrect key: {key}\"}}");
            send(stream, 401, "", error.as_bytes(), error.len())?;
            continue;
        }
        if !answer(stream, &asked, &mood, book)? {
            return Ok(());
        }
    }
}

/// Answers in a mood. Gives whether the connection goes on.
fn answer(
    stream: &TcpStream,
    asked: &Asked,
    mood: &Mood,
    book: &Mutex<Book>,
) -> std::io::Result<bool> {
    let n = asked.items.len();
    let says = |text: &str| {
        let (read, written) = (asked.prompt.len() / 4, text.len() / 4);
        serde_json::json!({
            "choices": [{ "message": { "role": "assistant", "content": text } }],
            "usage": { "prompt_tokens": read, "completion_tokens": written },
        })
        .to_string()
    };
    let scored = |ids: Vec<usize>| {
        let entry = |id: usize| serde_json::json!({ "id": id, "score": score(asked, id - 1) });
        serde_json::json!({ "scores": ids.into_iter().map(entry).collect::<Vec<_>>() }).to_string()
    };
    let good = || {
        *book.lock().unwrap().good.entry(asked.prompt.clone()).or_default() += 1;
        says(&scored((1..=n).collect()))
    };
    let body = match mood {
        Mood::Good => good(),
        Mood::Slow(ms) => {
            std::thread::sleep(Duration::from_millis(*ms));
            good()
        }
        Mood::Status(status, after) => {
            let header = after.map_or(String::new(), |s| format!("retry-after: {s}\r\n"));
            send(stream, *status, &header, b"busy", 4)?;
            return Ok(true);
        }
        Mood::Truncated => {
            let body = says(&scored((1..=n).collect()));
            send(stream, 200, "", &body.as_bytes()[..body.len() / 2], body.len())?;
            return Ok(false);
        }
        Mood::Reset => return Ok(false),
        Mood::Broken => "{\"choices\": [".to_owned(),
        Mood::Says(text) => says(text),
        Mood::WrongIds => says(&scored((1..=n).collect()).replace("\"id\":1,", "\"id\":77,")),
        Mood::MissingIds => says(&scored((1..n).collect())),
        Mood::Long(bytes) => says(&"la ".repeat(bytes / 3)),
    };
    send(stream, 200, "", body.as_bytes(), body.len())?;
    Ok(true)
}

/// What a good answer says of an item: a number that follows from its line.
pub fn score(asked: &Asked, item: usize) -> u64 {
    let line = asked.items.get(item).map_or("", |line| line.as_str());
    line.bytes().map(u64::from).sum::<u64>() % 11
}

fn send(
    mut stream: &TcpStream,
    status: u16,
    headers: &str,
    body: &[u8],
    length: usize,
) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {status} Told\r\ncontent-length: {length}\r\n{headers}\r\n");
    // In one piece: the second of two would wait for the first one's receipt.
    stream.write_all(&[head.as_bytes(), body].concat())?;
    stream.flush()
}

fn parse(body: &[u8]) -> Asked {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap();
    let messages = body["messages"].as_array().unwrap();
    assert_eq!(body["temperature"], 0.0);
    assert_eq!(body["model"], "judge-1");
    let prompt = messages[1]["content"].as_str().unwrap().to_owned();
    let lines = prompt.lines().skip_while(|line| *line != "Items:").skip(1);
    let items = lines.filter_map(|l| l.split_once(". ")).map(|(_, item)| item.to_owned()).collect();
    let format = body["response_format"].clone();
    Asked { items, prompt, turns: messages.len(), format }
}
