//! The words that titles are made of. All made up.

/// A category: the plural for the shelf, the singular for the title, and the usual price.
type Category = (&'static str, &'static str, f64);

/// Departments with their categories.
pub(super) const DEPARTMENTS: [(&str, [Category; 4]); 8] = [
    (
        "Kitchen",
        [
            ("Kettles", "Kettle", 28.0),
            ("Knives", "Chef's Knife", 22.0),
            ("Pans", "Frying Pan", 34.0),
            ("Scales", "Kitchen Scale", 16.0),
        ],
    ),
    (
        "Garden",
        [
            ("Planters", "Planter", 14.0),
            ("Shears", "Hedge Shears", 26.0),
            ("Hoses", "Garden Hose", 31.0),
            ("Seeds", "Seed Box", 6.0),
        ],
    ),
    (
        "Audio",
        [
            ("Headphones", "Headphones", 75.0),
            ("Speakers", "Speaker", 95.0),
            ("Turntables", "Turntable", 160.0),
            ("Cables", "Audio Cable", 11.0),
        ],
    ),
    (
        "Outdoor",
        [
            ("Tents", "Tent", 140.0),
            ("Lanterns", "Lantern", 24.0),
            ("Rucksacks", "Rucksack", 70.0),
            ("Flasks", "Flask", 18.0),
        ],
    ),
    (
        "Stationery",
        [
            ("Notebooks", "Notebook", 8.0),
            ("Pens", "Fountain Pen", 19.0),
            ("Inks", "Ink Bottle", 9.0),
            ("Folders", "Folder", 5.0),
        ],
    ),
    (
        "Toys",
        [
            ("Puzzles", "Puzzle", 15.0),
            ("Blocks", "Building Blocks", 27.0),
            ("Kites", "Kite", 21.0),
            ("Card Games", "Card Game", 12.0),
        ],
    ),
    (
        "Bath",
        [
            ("Soaps", "Soap", 5.0),
            ("Towels", "Towel", 17.0),
            ("Shampoos", "Shampoo", 8.0),
            ("Brushes", "Bath Brush", 10.0),
        ],
    ),
    (
        "Workshop",
        [
            ("Drills", "Cordless Drill", 88.0),
            ("Saws", "Hand Saw", 23.0),
            ("Clamps", "Clamp Set", 20.0),
            ("Lamps", "Work Lamp", 33.0),
        ],
    ),
];

/// Brands. Each makes everything; who likes one likes it in every department.
pub(super) const BRANDS: [&str; 24] = [
    "Aldwick",
    "Birchmoor",
    "Calder",
    "Dunmore",
    "Elmsworth",
    "Fennick",
    "Garrow",
    "Hollin",
    "Inverly",
    "Jessop",
    "Kestral",
    "Larkhall",
    "Merrow",
    "Northam",
    "Orrin",
    "Pellow",
    "Quenby",
    "Ravenna",
    "Stanmoor",
    "Tarn",
    "Ulverly",
    "Vantry",
    "Wexcombe",
    "Yarrow",
];

/// What sets one line of a category apart from another.
pub(super) const LINES: [&str; 16] = [
    "Harbour", "Meadow", "Copper", "Slate", "Willow", "Summit", "Ember", "Tide", "Cedar", "Aurora",
    "Pebble", "Heather", "Granite", "Drift", "Juniper", "Quarry",
];

/// Segments with how their price level differs from the usual, in steps of the price spread.
pub(super) const SEGMENTS: [(&str, f64); 3] =
    [("thrifty", -0.8), ("balanced", 0.0), ("premium", 0.8)];

/// Age groups, with the department that each prefers first; the others follow in their order.
pub(super) const AGE_GROUPS: [(&str, usize); 3] = [("18-29", 2), ("30-49", 5), ("50+", 0)];
