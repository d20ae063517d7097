// Numbers in order of use: the default derives them from absolute paths, so that no two checkouts built the same bundle.
module.exports = { optimization: { moduleIds: 'natural', chunkIds: 'natural' } };
