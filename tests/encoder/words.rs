//! Are texts cut so that what means the same has the same tokens, and never into special ones?

use steerage::model::encoder::words;
use steerage::model::tokenizer::Tokenizer;

#[test]
fn compounds_numbers_and_capitals_share_their_parts() {
    let texts = ["Under 20 dollars", "FRZN_MEAT/MEAT (10-20)", "Café lamp", "4oz lamp shade"];
    let json = words::tokenizer(texts.into_iter(), 100).unwrap();
    let tokenizer = Tokenizer::parse("words", &json).unwrap();
    let tokens = |text: &str| tokenizer.encode(text).unwrap();
    let word = |text: &str| -> u32 {
        let [token] = tokens(text)[..] else { panic!("{text:?} is not one token") };
        token
    };
    assert_eq!(tokens("UNDER 20"), [word("under"), word("20")]);
    assert_eq!(tokens("10-20").last(), Some(&word("20")));
    assert!(tokens("frzn_meat").contains(&word("meat")));
    assert_eq!(tokens("20oz"), [word("20"), word("oz")]);
    assert_eq!(word("cafe"), word("CAFÉ"));
    assert_eq!(tokens("lampshade")[0], word("lamp"), "others are spelled, longest part first");
    // What we call special, as text, is spelled.
    for name in words::SPECIAL {
        let special = tokenizer.named(name).unwrap();
        assert!(!tokens(&format!("a {name} b")).contains(&special), "{name}");
    }
}

#[test]
fn the_most_frequent_words_stay_whole() {
    let texts = ["b b b", "cc cc", "dd"];
    let json = words::tokenizer(texts.into_iter(), 2).unwrap();
    let tokenizer = Tokenizer::parse("words", &json).unwrap();
    let count = |text: &str| tokenizer.encode(text).unwrap().len();
    assert_eq!((count("b"), count("cc"), count("dd")), (1, 1, 2));
    assert_eq!(tokenizer.vocabulary(), 5 + 6 + 1, "b is a letter already");
    assert_eq!(words::tokenizer(texts.into_iter(), 2).unwrap(), json);
}
