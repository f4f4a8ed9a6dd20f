//! The step `train-bundled`: from pairs to the folder of the model.
//!
//! 1. learn the vocabulary from the training pairs;
//! 2. each token's row begins as the teacher's vector of the token;
//! 3. if asked (`--teacher-texts`), distil: the table learns the teacher's vectors of some texts;
//! 4. fit: the table learns the pairs, and the best epoch on the development packages is kept;
//! 5. round to int8, write the folder.

mod corpus;
mod dev;
mod save;
mod teacher;

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use embedding_engine::Cancel;
use embedding_engine::tokenize::words::WordTokenizer;
use embedding_engine::train::static_table::{Bag, DistillOptions, FitOptions, Table, distill, fit};
use embedding_engine::train::vocabulary;
use embedding_engine_chunk::Template;
use sha2::{Digest, Sha256};

use self::corpus::Pair;
use self::dev::Dev;
use self::teacher::Teacher;

/// What can be varied, with what the shipped model was made by as default.
struct Plan {
    pairs: PathBuf,
    out: PathBuf,
    work: PathBuf,
    /// The folder of the teacher; none: random rows.
    teacher: Option<PathBuf>,
    vocabulary: usize,
    template: Template,
    /// Training pairs, at most.
    limit: usize,
    /// Texts that the teacher reads and the table learns; 0: none. It gained nothing with hard negatives.
    teacher_texts: usize,
    /// Names in the documents that the teacher reads.
    teacher_names: usize,
    fit: FitOptions,
    distill: DistillOptions,
}

/// Tokens of the teacher's texts, at most: a function says in its first lines what it is.
const TEACHER_TOKENS: usize = 128;
/// Widths that the vectors can be cut to.
const WIDTHS: [usize; 3] = [96, 192, 384];

impl Plan {
    fn read(options: &[String]) -> Result<Self, String> {
        let mut plan = Plan {
            pairs: PathBuf::from("target/pairs"),
            out: PathBuf::from("models/bundled"),
            work: PathBuf::from("target/bundled"),
            teacher: None,
            vocabulary: 16_384,
            template: Template::default(),
            limit: usize::MAX,
            teacher_texts: 0,
            teacher_names: 2,
            // Each by its measure on the development packages, see models/bundled/README.md: dropout lowers it as much as
            // there is, blocks of one package raise it, and after four epochs it does not rise any more.
            fit: FitOptions { epochs: 4, dropout: 0.0, block: 64, ..FitOptions::default() },
            distill: DistillOptions::default(),
        };
        let mut rest = options.iter();
        while let Some(name) = rest.next() {
            let value = rest.next().ok_or_else(|| format!("{name} has no value"))?;
            let number = || value.parse::<f32>().map_err(|error| format!("{name} {value}: {error}"));
            let count = || value.parse::<usize>().map_err(|error| format!("{name} {value}: {error}"));
            match name.as_str() {
                "--pairs" => plan.pairs = value.into(),
                "--out" => plan.out = value.into(),
                "--work" => plan.work = value.into(),
                "--teacher" => plan.teacher = Some(value.into()),
                "--vocabulary" => plan.vocabulary = count()?,
                "--names" => plan.template.name_repeats = count()?,
                "--limit" => plan.limit = count()?,
                "--teacher-texts" => plan.teacher_texts = count()?,
                "--teacher-names" => plan.teacher_names = count()?,
                "--epochs" => plan.fit.epochs = count()?,
                "--block" => plan.fit.block = count()?,
                "--batch" => plan.fit.batch = count()?,
                "--rate" => (plan.fit.learning_rate, plan.fit.weight_learning_rate) = (number()?, number()? / 2.0),
                "--dropout" => plan.fit.dropout = number()?,
                "--dropout-occurrences" => plan.fit.dropout_occurrences = count()? > 0,
                "--temperature" => plan.fit.temperature = number()?,
                "--distill-epochs" => plan.distill.epochs = count()?,
                "--distill-rate" => {
                    (plan.distill.learning_rate, plan.distill.weight_learning_rate) = (number()?, number()? / 2.0);
                }
                "--seed" => (plan.fit.seed, plan.distill.seed) = (count()? as u64, count()? as u64),
                other => return Err(format!("there is no option {other}")),
            }
        }
        Ok(plan)
    }
}

/// See the module.
pub fn run(options: &[String]) -> Result<(), String> {
    let plan = Plan::read(options)?;
    let begin = Instant::now();
    let mut pairs = corpus::read(&plan.pairs.join("train.jsonl"))?;
    thin_out(&mut pairs, plan.limit);
    let dev_pairs = corpus::read(&plan.pairs.join("dev.jsonl"))?;
    eprintln!("[train] {} pairs, {} of development packages", pairs.len(), dev_pairs.len());

    let tokenizer = tokenizer(&plan, &pairs)?;
    let examples = corpus::examples(&tokenizer, &pairs, &plan.template);
    let dev_examples = corpus::examples(&tokenizer, &dev_pairs, &plan.template);
    if dev_examples.len() != dev_pairs.len() {
        return Err("a development pair has no token".to_owned());
    }
    let dev = Dev::new(&dev_pairs, &dev_examples);
    eprintln!("[train] {} tokens, {:.0} s", tokenizer.size(), begin.elapsed().as_secs_f64());

    let bags = || examples.iter().flat_map(|example| [&example.query, &example.document]);
    let mut table = match &plan.teacher {
        Some(folder) => {
            let teacher = Teacher::new(folder, &plan.work, TEACHER_TOKENS)?;
            let mut table = Table::from_teacher(&teacher.embed("tokens", &token_texts(&plan)?)?, WIDTHS[2]);
            table.set_idf_weights(bags());
            eprintln!("[train] rows of the teacher: {:.4} on dev", dev.ndcg(&table, WIDTHS[2]));
            if plan.teacher_texts > 0 {
                learn_from(&teacher, &plan, &pairs, &tokenizer, &mut table)?;
                eprintln!("[train] distilled: {:.4} on dev", dev.ndcg(&table, WIDTHS[2]));
            }
            table
        }
        None => {
            let mut table = Table::random(tokenizer.size(), WIDTHS[2], plan.fit.seed);
            table.set_idf_weights(bags());
            table
        }
    };

    let mut best: Option<(f64, Table)> = None;
    fit(&mut table, &examples, &plan.fit, &Cancel::never(), &mut |epoch| {
        let score = dev.ndcg(epoch.table, WIDTHS[2]);
        eprintln!(
            "[train] epoch {} of {}: loss {:.4}, {score:.4} on dev, {:.1} s",
            epoch.epoch, plan.fit.epochs, epoch.loss, epoch.seconds
        );
        if best.as_ref().is_none_or(|(best, _)| score > *best) {
            best = Some((score, epoch.table.clone()));
        }
        true
    })
    .map_err(|error| error.message)?;
    let (score, table) = best.ok_or("there was no epoch")?;
    save::save(&plan.out, &table.quantize(), &WIDTHS)?;
    fs::copy(tokenizer_file(&plan), plan.out.join("tokenizer.json")).map_err(|error| error.to_string())?;
    let widths: Vec<String> = WIDTHS.iter().map(|width| format!("{width}: {:.4}", dev.ndcg(&table, *width))).collect();
    for (package, score) in dev.by_package(&table) {
        eprintln!("[train] dev {package}: {score:.4}");
    }
    eprintln!(
        "[train] best {score:.4} on dev (by width {}), written to {} after {:.0} s",
        widths.join(", "),
        plan.out.display(),
        begin.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Evenly over all packages.
fn thin_out(pairs: &mut Vec<Pair>, limit: usize) {
    if pairs.len() > limit {
        let (all, mut index) = (pairs.len(), 0);
        pairs.retain(|_| {
            index += 1;
            index * limit / all != (index - 1) * limit / all
        });
    }
}

fn tokenizer_file(plan: &Plan) -> PathBuf {
    plan.work.join(format!("tokenizer-{}-{}.json", plan.vocabulary, plan.limit.min(999_999_999)))
}

/// The vocabulary of the pairs: names once, since their number is the template's doing.
fn tokenizer(plan: &Plan, pairs: &[Pair]) -> Result<WordTokenizer, String> {
    let file = tokenizer_file(plan);
    if !file.exists() {
        let once = Template { name_repeats: 1 };
        let texts: Vec<String> = pairs.iter().flat_map(|pair| [pair.query.clone(), pair.document(&once)]).collect();
        let json =
            vocabulary::learn(texts.iter().map(String::as_str), plan.vocabulary).map_err(|error| error.message)?;
        fs::create_dir_all(&plan.work).map_err(|error| error.to_string())?;
        fs::write(&file, json).map_err(|error| error.to_string())?;
    }
    let tokenizer = WordTokenizer::load(&file, plan.vocabulary, 1 << 20).map_err(|error| error.message)?;
    tokenizer.ok_or_else(|| format!("{} is not a tokenizer of ours", file.display()))
}

/// What each token spells; `?` for a part of a character, and for what teachers drop.
fn token_texts(plan: &Plan) -> Result<Vec<String>, String> {
    let bytes = fs::read(tokenizer_file(plan)).map_err(|error| error.to_string())?;
    let tokens = embedding_engine::tokenize::words::token_bytes(&bytes).map_err(|error| error.message)?;
    let readable = |c: char| c.is_alphanumeric() || c.is_ascii_graphic();
    let text = |bytes: &Vec<u8>| match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().any(readable) => text.to_owned(),
        _ => "?".to_owned(),
    };
    Ok(tokens.iter().map(text).collect())
}

/// Half queries, half documents.
fn learn_from(
    teacher: &Teacher<'_>,
    plan: &Plan,
    pairs: &[Pair],
    tokenizer: &WordTokenizer,
    table: &mut Table,
) -> Result<(), String> {
    // By hash, so that most stay the same when pairs are added: the teacher's vectors take long.
    let mut chosen = pairs.to_vec();
    chosen.sort_by_cached_key(|pair| Sha256::digest(format!("{}\n{}", pair.query, pair.code)));
    chosen.truncate(plan.teacher_texts / 2);
    let reads = Template { name_repeats: plan.teacher_names };
    let texts: Vec<String> = chosen.iter().flat_map(|pair| [pair.query.clone(), pair.document(&reads)]).collect();
    let vectors = teacher.embed("texts", &texts)?;
    let all: Vec<Bag> = chosen
        .iter()
        .flat_map(|pair| [corpus::bag(tokenizer, &pair.query), corpus::bag(tokenizer, &pair.document(&plan.template))])
        .collect();
    let (mut bags, mut targets) = (Vec::new(), Vec::new());
    for (bag, vector) in all.into_iter().zip(vectors.chunks_exact(WIDTHS[2])) {
        if !bag.ids.is_empty() {
            bags.push(bag);
            targets.extend_from_slice(vector);
        }
    }
    distill(table, &bags, &targets, &plan.distill, &Cancel::never(), &mut |epoch| {
        eprintln!("[train] distil {}: loss {:.4}, {:.1} s", epoch.epoch, epoch.loss, epoch.seconds);
        true
    })
    .map_err(|error| error.message)
}
